// How machines end, and what exit code the user gets. Every case on each engine that can run small guests here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "runner.hpp"

namespace nagaya::system_test {
namespace {

using ::testing::HasSubstr;

class Outcomes : public ::testing::TestWithParam<std::string> {
 protected:
  const std::string& engine() const { return GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(Engines, Outcomes, ::testing::ValuesIn(engines()), [](const auto& info) { return info.param; });

TEST_P(Outcomes, DebugExit) {
  struct Case {
    int value, code;
  };
  for (auto [value, code] : {Case{0, 1}, Case{1, 3}, Case{16, 33}, Case{62, 125}, Case{127, 255}}) {
    Outcome outcome = run(small_run("debug_exit", engine(), "value=" + std::to_string(value)));
    EXPECT_EQ(outcome.code, code) << outcome.errors;
    EXPECT_THAT(outcome.output, HasSubstr("hello from a small guest"));
    EXPECT_THAT(outcome.errors, HasSubstr("debug exit"));
  }
}

TEST_P(Outcomes, TripleFault) {
  Outcome outcome = run(small_run("crash", engine(), "how=0"));
  EXPECT_EQ(outcome.code, 98) << outcome.errors;
  EXPECT_THAT(outcome.errors, HasSubstr("triple fault"));
}

TEST_P(Outcomes, ResetThroughKeyboardControllerAndPort) {
  for (const char* how : {"how=1", "how=2"}) {
    Outcome outcome = run(small_run("crash", engine(), how));
    EXPECT_EQ(outcome.code, 96) << how << ": " << outcome.errors;
  }
}

TEST_P(Outcomes, JumpToNowhere) {
  Outcome outcome = run(small_run("crash", engine(), "how=3"));
  // Where no memory answers, the bus reads as ones: an invalid opcode, and then a triple fault. An engine may refuse.
  EXPECT_TRUE(outcome.code == 98 || outcome.code == 100) << outcome.code << ": " << outcome.errors;
}

TEST_P(Outcomes, PowerOff) {
  Outcome outcome = run(small_run("crash", engine(), "how=4"));
  EXPECT_EQ(outcome.code, 0) << outcome.errors;
  EXPECT_THAT(outcome.errors, HasSubstr("powered off"));
}

TEST_P(Outcomes, QuietSaysNothing) {
  Outcome outcome = run(small_run("debug_exit", engine(), "quiet=1", {"-q"}));
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.output, "");
  EXPECT_EQ(outcome.errors, "");
}

TEST_P(Outcomes, ResetStartsAgainUnlessToldNotTo) {
  for (const char* how : {"how=0", "how=1", "how=2"}) {
    Command command({"run", "--kernel", small_guest("crash"), "--engine", engine(), "--append", how, "-m", "32M"});
    std::size_t at = 0;
    for (int time = 0; time < 4; ++time) {
      ASSERT_TRUE(command.wait_for("started", 60, at)) << how << ", start " << time << ": " << command.errors();
      at = command.output().find("started", at) + 1;
    }
    command.signal(SIGTERM);
    ASSERT_TRUE(command.wait_end(30));
    EXPECT_EQ(command.exit_code(), 128 + SIGTERM);
  }
}

TEST_P(Outcomes, AGuestThatLoopsForeverCanBeEnded) {
  for (const char* how : {"how=0", "how=1", "how=2"}) {
    for (int signal : {SIGTERM, SIGINT, SIGHUP}) {
      Command command(small_run("spin", engine(), how));
      ASSERT_TRUE(command.wait_for("spinning")) << command.errors();
      pid_t vmm = command.vmm_pid();
      ASSERT_GT(vmm, 0);
      command.signal(signal);
      ASSERT_TRUE(command.wait_end(30)) << how;
      EXPECT_EQ(command.exit_code(), 128 + signal) << how;
      EXPECT_NE(::kill(vmm, 0), 0) << "the machine's process is still there";
    }
  }
}

TEST_P(Outcomes, KillingTheCommandKillsTheMachine) {
  Command command(small_run("spin", engine(), "how=0"));
  ASSERT_TRUE(command.wait_for("spinning")) << command.errors();
  pid_t vmm = command.vmm_pid();
  ASSERT_GT(vmm, 0);
  command.signal(SIGKILL);
  ASSERT_TRUE(command.wait_end(30));
  EXPECT_EQ(command.exit_code(), 128 + SIGKILL);
  // It is not our child: wait until it is gone, or a zombie nobody has reaped yet.
  for (int i = 0; i < 1000 && std::filesystem::exists("/proc/" + std::to_string(vmm) + "/exe"); ++i) {
    std::error_code error;
    if (std::filesystem::read_symlink("/proc/" + std::to_string(vmm) + "/exe", error).empty()) break;
    sleep_for(0.01);
  }
  std::error_code error;
  EXPECT_TRUE(std::filesystem::read_symlink("/proc/" + std::to_string(vmm) + "/exe", error).empty());
}

TEST_P(Outcomes, AMachineThatIsKilledIsToldApart) {
  const std::string socket = scratch("killed-" + engine() + ".ctl");
  Command command(small_run("spin", engine(), "how=0", {"--control", socket}));
  ASSERT_TRUE(command.wait_for("spinning")) << command.errors();
  ASSERT_GT(command.vmm_pid(), 0);
  EXPECT_TRUE(std::filesystem::exists(socket));
  ::kill(command.vmm_pid(), SIGKILL);
  ASSERT_TRUE(command.wait_end(30));
  EXPECT_EQ(command.exit_code(), 128 + SIGKILL);
  EXPECT_THAT(command.errors(), HasSubstr("killed"));
  EXPECT_FALSE(std::filesystem::exists(socket)) << "its sockets are removed for it";
}

TEST_P(Outcomes, AMachineThatRunsHasNothingOfTheHost) {
  Command command(small_run("spin", engine(), "how=0"));
  ASSERT_TRUE(command.wait_for("spinning")) << command.errors();
  const std::string process = "/proc/" + std::to_string(command.vmm_pid());
  std::error_code error;
  if (std::filesystem::read_symlink(process + "/ns/mnt", error) == std::filesystem::read_symlink("/proc/self/ns/mnt", error)) {
    GTEST_SKIP() << "this host lets us make no namespaces";
  }
  EXPECT_TRUE(std::filesystem::is_empty(process + "/root/"));
  EXPECT_NE(std::filesystem::read_symlink(process + "/ns/net"), std::filesystem::read_symlink("/proc/self/ns/net"));
  for (const auto& thread : std::filesystem::directory_iterator(process + "/task")) {
    std::ifstream in(thread.path() / "status");
    const std::string status{std::istreambuf_iterator<char>(in), {}};
    EXPECT_THAT(status, HasSubstr("CapEff:\t0000000000000000"));
    EXPECT_THAT(status, HasSubstr("CapBnd:\t0000000000000000"));
    EXPECT_THAT(status, HasSubstr("Seccomp:\t2"));
    EXPECT_THAT(status, HasSubstr("NoNewPrivs:\t1"));
  }
}

TEST_P(Outcomes, SerialInputFromAPipe) {
  Command command(small_run("echo", engine()), Command::Input::pipe);
  ASSERT_TRUE(command.wait_for("ready")) << command.errors();
  // More than any FIFO holds: nothing may be lost.
  std::string sent, wanted;
  for (int i = 0; i < 200; ++i) {
    sent += "line " + std::to_string(i) + "\n";
    wanted += "LINE " + std::to_string(i) + "\n";
  }
  command.send(sent + "q");
  ASSERT_TRUE(command.wait_end(120)) << command.output().size();
  EXPECT_EQ(command.exit_code(), 3);
  EXPECT_THAT(command.output(), HasSubstr(wanted));
}

TEST_P(Outcomes, SerialPortsCanLeadElsewhere) {
  std::string log = scratch("serial-" + engine());
  Outcome outcome = run(small_run("debug_exit", engine(), "", {"--serial", "file:" + log}));
  EXPECT_EQ(outcome.code, 1) << outcome.errors;
  EXPECT_EQ(outcome.output, "");
  std::ifstream in(log);
  std::string text(std::istreambuf_iterator<char>(in), {});
  EXPECT_THAT(text, HasSubstr("hello from a small guest"));
}

TEST(Outcome, WithoutTheMachinesProgram) {
  // Alone in a folder: 127; with something beside it that cannot be executed: 126.
  std::filesystem::create_directories(scratch("alone"));
  std::string copy = scratch("alone/nagaya");
  std::filesystem::copy_file(nagaya(), copy, std::filesystem::copy_options::overwrite_existing);
  auto shell = [&] { return WEXITSTATUS(std::system((copy + " run --kernel x 2>" + scratch("alone/errors")).c_str())); };
  EXPECT_EQ(shell(), 127);
  // Root may execute what anybody may execute, so the file must be executable for nobody.
  std::ofstream(scratch("alone/nagaya-vmm")) << "not a program";
  std::filesystem::permissions(scratch("alone/nagaya-vmm"), std::filesystem::perms::owner_read);
  EXPECT_EQ(shell(), 126);
}

}  // namespace
}  // namespace nagaya::system_test
