#include "cli/parse.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/app.hpp"

namespace nagaya::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Words = std::vector<std::string>;

const CommandSpec sample{
    .name = "sample",
    .options = {{"-m,--memory", "SIZE", ""},
                {"--kernel", "FILE", "", Completes::file},
                {"--engine", "NAME", "", Completes::words, {"auto", "kvm", "soft"}},
                {"--append", "TEXT", "", Completes::nothing, {}, true, true},
                {"--no-reboot", "", ""},
                {"-q,--quiet", "", ""},
                {"WHAT", "WHAT", "", Completes::words, {"one", "two"}}},
};

Parsed parse(const Words& words) {
  auto parsed = parse_arguments(sample, words);
  EXPECT_TRUE(parsed) << (parsed ? "" : parsed.error().message());
  return parsed ? *parsed : Parsed{};
}

std::string error(const Words& words) {
  auto parsed = parse_arguments(sample, words);
  return parsed ? "(no error)" : parsed.error().message();
}

TEST(Parse, Values) {
  Parsed parsed = parse({"-m", "1G", "--kernel=a=b", "--engine", "soft", "-q", "two"});
  EXPECT_EQ(parsed.last("memory"), "1G");
  EXPECT_EQ(parsed.last("kernel"), "a=b");
  EXPECT_EQ(parsed.last("engine"), "soft");
  EXPECT_TRUE(parsed.has("quiet"));
  EXPECT_FALSE(parsed.has("no-reboot"));
  EXPECT_EQ(parsed.last("WHAT"), "two");
  EXPECT_EQ(parsed.last("append"), "");
}

TEST(Parse, LastOneCountsUnlessTheOptionRepeats) {
  Parsed parsed = parse({"-m", "1G", "--memory", "2G", "--append", "a", "--append", "b c"});
  EXPECT_EQ(parsed.last("memory"), "2G");
  EXPECT_THAT(parsed.all("append"), ElementsAre("a", "b c"));
}

TEST(Parse, ValuesAreTakenAsTheyAre) {
  EXPECT_THAT(parse({"--append", "[a,b]"}).all("append"), ElementsAre("[a,b]"));
  EXPECT_THAT(parse({"--append=-x --y"}).all("append"), ElementsAre("-x --y"));
  EXPECT_THAT(parse({"--append", ""}).all("append"), ElementsAre(""));
  EXPECT_THAT(parse({"--append", "\"quoted\" 'text' \\n"}).all("append"), ElementsAre("\"quoted\" 'text' \\n"));
}

TEST(Parse, ErrorsNameTheWordAndWhatWasMeant) {
  EXPECT_EQ(error({"--kernal", "x"}), "unknown option '--kernal' (did you mean '--kernel'?)");
  EXPECT_EQ(error({"-kernel", "x"}), "unknown option '-kernel' (did you mean '--kernel'?)");
  EXPECT_EQ(error({"--kernal=x"}), "unknown option '--kernal' (did you mean '--kernel'?)");
  EXPECT_THAT(error({"--zzzzzzzz"}), HasSubstr("see 'nagaya help sample'"));
  EXPECT_THAT(error({"--engine", "sotf"}), HasSubstr("it can be auto, kvm, soft (did you mean 'soft'?)"));
  EXPECT_THAT(error({"one", "surplus"}), HasSubstr("unexpected argument 'surplus'"));
  EXPECT_THAT(error({"-m"}), HasSubstr("memory"));
}

TEST(Parse, TheRestIsAnotherProgramsBusiness) {
  const CommandSpec command{.name = "x", .options = {{"-t,--tty", "", ""}, {"-e,--env", "K=V", "", Completes::nothing, {}, true, true}, {.flags = "WORDS", .value = "WORDS", .help = "", .rest = true}}};
  const auto rest = [&](const Words& words) {
    auto parsed = parse_arguments(command, words);
    return parsed ? parsed->all("WORDS") : Words{parsed.error().message()};
  };
  EXPECT_THAT(rest({"-t", "image", "ls", "-t", "--env", "x"}), ElementsAre("image", "ls", "-t", "--env", "x"));
  EXPECT_THAT(rest({"-e", "A=1", "image", "--", "-x"}), ElementsAre("image", "--", "-x"));
  EXPECT_THAT(rest({"--", "image", "-h"}), ElementsAre("image", "-h"));
  EXPECT_THAT(rest({"-t"}), ElementsAre());
  EXPECT_THAT(rest({"--tyy", "image"}), ElementsAre("unknown option '--tyy' (did you mean '--tty'?)"));
}

TEST(App, UnknownCommand) {
  EXPECT_EQ(unknown_command("rnu").message(), "unknown command 'rnu' (did you mean 'nagaya run'?)");
  EXPECT_EQ(run_command_line(Words{"frobnicate"}), 125);
}

}  // namespace
}  // namespace nagaya::cli
