#include "cli/help.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nagaya::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(Help, BeginsWithExamples) {
  EXPECT_THAT(help_overview(), StartsWith("Examples:\n"));
  for (const CommandSpec& command : commands()) {
    EXPECT_THAT(help_of(command), StartsWith("Examples:\n")) << command.name;
    EXPECT_FALSE(command.examples.empty()) << command.name;
  }
}

TEST(Help, EveryOptionIsEverywhere) {
  const std::string manual = manual_page();
  std::string scripts[] = {*completion_script("bash"), *completion_script("zsh"), *completion_script("fish")};
  for (const CommandSpec& command : commands()) {
    for (const OptionSpec& option : command.options) {
      EXPECT_FALSE(option.help.ends_with('.')) << option.flags;
      if (option.positional()) continue;
      EXPECT_THAT(help_of(command), HasSubstr("--" + option.key()));
      std::string in_manual;
      for (char c : "--" + option.key()) in_manual += c == '-' ? std::string("\\-") : std::string(1, c);
      EXPECT_THAT(manual, HasSubstr(in_manual));
      EXPECT_THAT(scripts[0], HasSubstr("--" + option.key()));
      EXPECT_THAT(scripts[1], HasSubstr("--" + option.key()));
      EXPECT_THAT(scripts[2], HasSubstr(" -l " + option.key()));
    }
  }
}

TEST(Help, NoLineIsWiderThanATerminalOfAHundredColumns) {
  for (const CommandSpec& command : commands()) {
    std::string text = help_of(command);
    for (std::size_t at = 0; at < text.size();) {
      std::size_t end = text.find('\n', at);
      EXPECT_LE(end - at, 120u) << text.substr(at, end - at);
      at = end + 1;
    }
  }
}

TEST(Help, UnknownShell) { EXPECT_FALSE(completion_script("powershell")); }

TEST(Help, HelpCommandOffersEveryCommand) {
  const CommandSpec* help = find_command("help");
  ASSERT_NE(help, nullptr);
  for (const OptionSpec& option : help->options) {
    if (!option.positional()) continue;
    std::vector<std::string> names;
    for (const CommandSpec& command : commands()) names.push_back(command.name);
    EXPECT_EQ(option.words, names);
  }
}

}  // namespace
}  // namespace nagaya::cli
