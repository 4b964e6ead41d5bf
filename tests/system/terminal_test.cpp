// The console on a terminal: raw while the machine runs, as before afterwards, whatever happens.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <termios.h>

#include <optional>
#include <string>

#include "runner.hpp"

namespace nagaya::system_test {
namespace {

using ::testing::HasSubstr;

termios mode_of(const Command& command) {
  termios mode{};
  EXPECT_EQ(::tcgetattr(command.terminal(), &mode), 0);
  return mode;
}

bool is_raw(const termios& mode) { return (mode.c_lflag & (ICANON | ECHO | ISIG)) == 0; }
bool same(const termios& a, const termios& b) {
  return a.c_iflag == b.c_iflag && a.c_oflag == b.c_oflag && a.c_cflag == b.c_cflag && a.c_lflag == b.c_lflag;
}

// A fresh pseudo-terminal's mode, which every command here starts from.
termios fresh_mode() {
  Command command({"version"}, Command::Input::terminal);
  termios mode = mode_of(command);
  command.wait_end(30);
  return mode;
}

class Terminal : public ::testing::TestWithParam<std::string> {
 protected:
  void start(const std::string& guest, const std::string& append, const std::string& first) {
    command.emplace(small_run(guest, GetParam(), append), Command::Input::terminal);
    ASSERT_TRUE(command->wait_for(first)) << command->output();
    // The guest's first output comes after the terminal has become raw.
    ASSERT_TRUE(is_raw(mode_of(*command)));
  }
  void expect_restored() { EXPECT_TRUE(same(mode_of(*command), before)); }
  termios before = fresh_mode();
  std::optional<Command> command;
};
INSTANTIATE_TEST_SUITE_P(Engines, Terminal, ::testing::ValuesIn(engines()), [](const auto& info) { return info.param; });

TEST_P(Terminal, KeysReachTheGuestAndControlBracketLeaves) {
  start("echo", "", "ready");
  command->send("abc");
  EXPECT_TRUE(command->wait_for("ABC")) << command->output();
  // Ctrl-C, Ctrl-Z and Ctrl-D are the guest's.
  command->send("\x03\x1a\x04xyz");
  EXPECT_TRUE(command->wait_for("XYZ")) << command->output();
  command->send("\x1d");
  ASSERT_TRUE(command->wait_end(30));
  EXPECT_EQ(command->exit_code(), 0);
  expect_restored();
}

TEST_P(Terminal, LeavingAGuestThatNeverReads) {
  for (const char* how : {"how=0", "how=1", "how=2"}) {
    start("spin", how, "spinning");
    // More keys than any buffer holds must not keep Ctrl-] from being heard.
    command->send(std::string(2000, 'k'));
    command->send("\x1d");
    ASSERT_TRUE(command->wait_end(30)) << how;
    EXPECT_EQ(command->exit_code(), 0);
    expect_restored();
  }
}

TEST_P(Terminal, RestoredWhenTheGuestEnds) {
  start("echo", "", "ready");
  command->send("q");
  ASSERT_TRUE(command->wait_end(30));
  EXPECT_EQ(command->exit_code(), 3);
  expect_restored();
}

TEST_P(Terminal, RestoredWhenWeAreTold) {
  for (int signal : {SIGTERM, SIGHUP, SIGQUIT}) {
    start("spin", "how=0", "spinning");
    command->signal(signal);
    ASSERT_TRUE(command->wait_end(30));
    EXPECT_EQ(command->exit_code(), 128 + signal);
    expect_restored();
  }
}

TEST_P(Terminal, RestoredWhenTheMachineCrashes) {
  for (int signal : {SIGKILL, SIGSEGV, SIGABRT}) {
    start("spin", "how=0", "spinning");
    ASSERT_GT(command->vmm_pid(), 0);
    ::kill(command->vmm_pid(), signal);
    ASSERT_TRUE(command->wait_end(30));
    EXPECT_EQ(command->exit_code(), 128 + signal);
    expect_restored();
  }
}

TEST_P(Terminal, RestoredWhenTheCommandIsKilled) {
  start("spin", "how=0", "spinning");
  command->signal(SIGKILL);
  // The machine hears of it and gives the terminal back by itself.
  for (int i = 0; i < 1000 && !same(mode_of(*command), before); ++i) sleep_for(0.01);
  expect_restored();
  command->wait_end(30);
}

}  // namespace
}  // namespace nagaya::system_test
