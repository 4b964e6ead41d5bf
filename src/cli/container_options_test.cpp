#include "cli/container_options.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/parse.hpp"
#include "cli/run_command.hpp"

namespace nagaya::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Words = std::vector<std::string>;

Result<domain::ContainerDefinition> read(const Words& words) {
  TRY_ASSIGN(const Parsed parsed, parse_arguments(run_command(), words));
  return definition_from_options(parsed);
}

std::string error(const Words& words) {
  const auto definition = read(words);
  return definition ? "(no error)" : definition.error().message();
}

TEST(ContainerOptions, BecomeADefinition) {
  const auto read_one = read({"-it", "--rm", "--container", "-h", "boxed", "-m", "64M", "-c", "1.5", "--memory-swap", "-1", "--pids-limit", "9", "-e", "A=1", "--label", "k=v",
                              "--cap-drop", "ALL", "--cap-add", "CHOWN", "-v", "/tmp:/t:ro", "-v", "data:/d", "-p", "8080:80", "--tmpfs", "/s", "--uts", "host", "--pid", "private",
                              "box", "ls", "-l"});
  ASSERT_TRUE(read_one) << read_one.error().message();
  const auto& d = *read_one;
  EXPECT_TRUE(d.terminal && d.interactive && d.remove && d.reaper && !d.system);
  EXPECT_EQ(d.image_name, "box");
  EXPECT_THAT(d.command, ElementsAre("ls", "-l"));
  EXPECT_EQ(d.hostname, "boxed");
  EXPECT_EQ(d.limits.memory, 64 * MiB);
  EXPECT_EQ(d.limits.memory_swap, -1);
  EXPECT_EQ(d.limits.cpu_thousandths, 1500u);
  EXPECT_EQ(d.limits.pids, 9);
  EXPECT_EQ(d.labels.at("k"), "v");
  ASSERT_EQ(d.volumes.size(), 2u);
  EXPECT_TRUE(d.volumes[0].read_only);
  EXPECT_EQ(d.volumes[1].source, "data");
  EXPECT_EQ(d.uts, "host");
  EXPECT_EQ(d.pid, "");
}

TEST(ContainerOptions, AWholeSystemHasNoReaper) {
  const auto d = read({"--container", "--init", "debian"});
  ASSERT_TRUE(d);
  EXPECT_TRUE(d->system && !d->reaper);
}

TEST(ContainerOptions, EntryPointsMayBeEmpty) {
  EXPECT_THAT(read({"--container", "--entrypoint", "/x", "box"})->entrypoint, ::testing::Optional(ElementsAre("/x")));
  EXPECT_THAT(read({"--container", "--entrypoint", "", "box"})->entrypoint, ::testing::Optional(::testing::IsEmpty()));
  EXPECT_FALSE(read({"--container", "box"})->entrypoint);
}

TEST(ContainerOptions, SayWhatIsWrong) {
  EXPECT_THAT(error({"--container", "-m", "512", "box"}), HasSubstr("write 512M"));
  EXPECT_THAT(error({"--container", "-c", "much", "box"}), HasSubstr("it must be a number"));
  EXPECT_THAT(error({"--container", "-v", "/no/such/folder:/x", "box"}), HasSubstr("No such file"));
  EXPECT_THAT(error({"--container", "-v", "a:b", "box"}), HasSubstr("must be an absolute path"));
  EXPECT_THAT(error({"--container", "--rm", "--restart", "always", "box"}), HasSubstr("leave one of them out"));
  EXPECT_THAT(error({"--container", "-e", "=x", "box"}), HasSubstr("the name is missing"));
  EXPECT_THAT(error({"--container", "--restart", "often", "box"}), HasSubstr("restart policy"));
}

TEST(ContainerOptions, EachKindHasItsOwn) {
  const auto parsed = parse_arguments(run_command(), Words{"--container", "--kernel", "k", "--cap-add", "ALL", "box"});
  ASSERT_TRUE(parsed);
  EXPECT_EQ(machine_only_option(*parsed), "--kernel");
  EXPECT_EQ(container_only_option(*parsed), "--cap-add");
}

}  // namespace
}  // namespace nagaya::cli
