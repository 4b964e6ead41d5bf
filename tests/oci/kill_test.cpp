// kill -9 of any process of ours at any system call of create, start and delete: the next command cleans up whatever is
// left. The tracer stops every process of the command at each entry and exit of a system call, and kills the one that
// made the n-th. All points: NAGAYA_KILL_ALL=1 (minutes); otherwise a sample of them.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>

#include "oci/bundle.hpp"

namespace nagaya::oci_test {
namespace {
namespace fs = std::filesystem;

constexpr const char* mark = "NAGAYA_KILL_TEST";

enum class End { killed, finished, failed };

/// The tracer: a process of its own, so that its end lets go of all that it traces.
[[noreturn]] void trace(const Words& words, const std::string& marked, int nth) {
  ::setenv(mark, marked.c_str(), 1);
  const pid_t command = ::fork();
  if (command == 0) {
    std::vector<char*> argv;
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    ::dup2(::open("/dev/null", O_RDWR), 2);  // what it says of its own end is of no interest
    ::raise(SIGSTOP);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  int status = 0;
  ::waitpid(command, &status, WUNTRACED);
  constexpr long options =
      PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC;
  if (::ptrace(PTRACE_SEIZE, command, nullptr, options) != 0) ::_exit(static_cast<int>(End::failed));
  ::kill(command, SIGCONT);
  int count = 0;
  bool own = false;
  for (;;) {
    const pid_t pid = ::waitpid(-1, &status, __WALL);
    if (pid < 0) ::_exit(static_cast<int>(End::finished));
    if (!WIFSTOPPED(status)) {
      if (pid == command) ::_exit(static_cast<int>(End::finished));
      continue;
    }
    const int signal = WSTOPSIG(status);
    const int event = status >> 16;
    if (event == PTRACE_EVENT_EXEC) own = true;  // before it the program is this test's
    if (signal == (SIGTRAP | 0x80) && own && ++count == nth) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, &status, __WALL);
      ::_exit(static_cast<int>(End::killed));
    }
    const bool deliver = event == 0 && signal != (SIGTRAP | 0x80) && signal != SIGTRAP;
    ::ptrace(PTRACE_SYSCALL, pid, nullptr, deliver ? signal : 0);
  }
}

End kill_at(const Words& words, const std::string& marked, int nth) {
  const pid_t tracer = ::fork();
  if (tracer == 0) trace(words, marked, nth);
  int status = 0;
  ::waitpid(tracer, &status, 0);
  return WIFEXITED(status) ? static_cast<End>(WEXITSTATUS(status)) : End::failed;
}

/// Processes whose environment has the mark, zombies aside: the command's own and those it made that have not become
/// the container yet.
std::string left_processes(const std::string& marked) {
  std::string out;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator("/proc", code)) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != name.npos || name == std::to_string(::getpid())) continue;
    std::stringstream environment;
    environment << std::ifstream(entry.path() / "environ").rdbuf();
    if (environment.str().find(std::string(mark) + "=" + marked) != std::string::npos) out += name + " ";
  }
  return out;
}

class OciKill : public ::testing::Test {
 protected:
  /// Kills `words` at each point in turn; `before` makes what the command works on.
  void at_every_point(Bundle& b, const Words& words, const std::function<void()>& before) {
    const bool all = std::getenv("NAGAYA_KILL_ALL") != nullptr;
    // The sample moves through the command in steps that share no factor with the two stops of each call.
    const int step = all ? 1 : 41;
    int points = 0;
    for (int nth = 1; nth < 20'000; nth += step) {
      before();
      const std::string marked = std::to_string(::getpid()) + "-" + std::to_string(nth);
      Words line{runtime(), "--root", b.root};
      line.insert(line.end(), words.begin(), words.end());
      const End end = kill_at(line, marked, nth);
      ASSERT_NE(end, End::failed);
      points += end == End::killed;
      ASSERT_EQ(b.oci({"list"}).code, 0) << "point " << nth;
      const bool again = nth % 2 == 0 && words[0] == "create" && end == End::killed;
      if (again) {
        const Outcome made = b.oci({"create", "-b", b.path, "c"});
        // Killed after the last step it is there, complete.
        if (made.code != 0) {
          ASSERT_EQ(b.state("c")["status"], "created") << "point " << nth << ": " << made.err;
        }
      }
      const Outcome gone = b.oci({"delete", "-f", "c"});
      ASSERT_EQ(gone.code, 0) << "point " << nth << ": " << gone.err;
      ASSERT_TRUE(!fs::exists(b.root) || fs::is_empty(b.root)) << "point " << nth;
      ASSERT_TRUE(b.cgroups().empty()) << "point " << nth << ": " << b.cgroups()[0];
      std::string left;
      for (int i = 0; i < 200 && !(left = left_processes(marked)).empty(); ++i) ::usleep(10'000);
      ASSERT_EQ(left, "") << "point " << nth;
      ASSERT_EQ(run_program({"grep", b.path, "/proc/self/mountinfo"}).out, "") << "point " << nth;
      if (end == End::finished) break;
    }
    EXPECT_GT(points, all ? 50 : 2);
    RecordProperty("points", points);
  }
};

TEST_F(OciKill, Create) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.script("sleep 1000");
  b.write_config();
  at_every_point(b, {"create", "-b", b.path, "c"}, [] {});
}

TEST_F(OciKill, CreateThroughAHelper) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.with_user_namespace();
  b.add_namespace("ipc", "/proc/self/ns/ipc");
  b.without_mounts("mqueue");
  b.config["linux"]["resources"]["pids"] = {{"limit", 50}};
  b.config["hooks"]["createRuntime"] = {{{"path", "/bin/true"}}};
  b.script("sleep 1000");
  b.write_config();
  at_every_point(b, {"create", "-b", b.path, "c"}, [] {});
}

TEST_F(OciKill, Start) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.script("sleep 1000");
  b.write_config();
  at_every_point(b, {"start", "c"}, [&b] { ASSERT_EQ(b.oci({"create", "-b", b.path, "c"}).code, 0); });
}

TEST_F(OciKill, Delete) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.script("sleep 1000");
  b.write_config();
  at_every_point(b, {"delete", "-f", "c"}, [&b] { ASSERT_EQ(b.oci({"run", "-d", "-b", b.path, "c"}).code, 0); });
}

TEST_F(OciKill, Run) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.script("true");
  b.write_config();
  at_every_point(b, {"run", "-b", b.path, "c"}, [] {});
}

}  // namespace
}  // namespace nagaya::oci_test
