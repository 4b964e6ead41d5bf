// A whole Debian, as its user has it: one machine made of the image, which all tests of this file share.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>

#include "runner.hpp"

namespace nagaya::system_test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr double patience = 300;  // seconds; the machine may be busy with other tests
const std::string machine_name = "whole-" + std::to_string(::getpid());
const std::string ssh_port = std::to_string(20000 + ::getpid() % 20000);

/// A command's end in the guest.
Outcome in_guest(const std::string& script, double seconds = patience) {
  return run({"exec", machine_name, "sh", "-c", script}, seconds);
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

std::string host_output(const std::string& command) {
  std::string out;
  if (FILE* pipe = ::popen(command.c_str(), "r")) {
    char buffer[4096];
    while (const std::size_t got = std::fread(buffer, 1, sizeof buffer, pipe)) out.append(buffer, got);
    ::pclose(pipe);
  }
  return out;
}

/// Sockets need short paths, which a build folder's may not be.
class ShortPaths : public ::testing::Environment {
  void SetUp() override {
    const char* state = std::getenv("NAGAYA_STATE_DIR");
    if (state != nullptr) ::setenv("NAGAYA_RUNTIME_DIR", scratch("run").c_str(), 0);
  }
};
[[maybe_unused]] const auto* const short_paths = ::testing::AddGlobalTestEnvironment(new ShortPaths);

class Debian : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = scratch("shared");
    std::filesystem::create_directory(shared_);
    const Outcome made = run({"run", "-d", "--name", machine_name, "-m", "1G", "-c", "2", "--engine", "soft", "-p", "127.0.0.1:" + ssh_port + ":22",
                              "-v", shared_ + ":/mnt/shared", "debian"},
                             patience);
    ASSERT_EQ(made.code, 0) << made.errors;
    wait_until_up();
  }
  static void TearDownTestSuite() {
    if (::testing::Test::HasFailure()) std::fprintf(stderr, "%s\n", run({"logs", machine_name}, 60).output.c_str());
    (void)run({"rm", "-f", machine_name}, 60);
    std::filesystem::remove_all(shared_);
  }
  /// Until systemd has started what it wants to start.
  static void wait_until_up() {
    for (int i = 0; i < 300; ++i) {
      state_ = first_line(in_guest("systemctl is-system-running --wait").output);
      if (!state_.empty() && state_ != "offline") return;
      sleep_for(1);
    }
  }
  static inline std::string shared_, state_;
};

TEST_F(Debian, EveryUnitRuns) {
  EXPECT_EQ(state_, "running") << in_guest("systemctl --failed --no-legend; journalctl -p warning -b --no-pager | tail -50").output;
  EXPECT_EQ(first_line(in_guest("hostname").output), machine_name);
  EXPECT_THAT(in_guest("dmesg").output, Not(::testing::AnyOf(HasSubstr("Call Trace"), HasSubstr("BUG:"), HasSubstr("soft lockup"), HasSubstr("unchecked MSR"))));
}

TEST_F(Debian, ExitCodesAreTheCommandsOwn) {
  EXPECT_EQ(in_guest("exit 7").code, 7);
  EXPECT_EQ(in_guest("kill -9 $$").code, 137);
  EXPECT_EQ(run({"exec", machine_name, "/absent"}, patience).code, 127);
  EXPECT_EQ(run({"exec", machine_name, "/etc"}, patience).code, 126);
  const Outcome both = in_guest("echo to-out; echo to-err >&2");
  EXPECT_EQ(both.output, "to-out\n");
  EXPECT_THAT(both.errors, HasSubstr("to-err"));
}

// From the mirror that this host uses.
TEST_F(Debian, AptInstalls) {
  const Outcome installed = in_guest("apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends hello && hello", 600);
  EXPECT_EQ(installed.code, 0) << installed.output << installed.errors;
  EXPECT_THAT(installed.output, HasSubstr("Hello, world!"));
}

TEST_F(Debian, LogsInBySsh) {
  const char* state = std::getenv("NAGAYA_STATE_DIR");
  ASSERT_NE(state, nullptr);
  const std::string ssh = "ssh -q -i " + std::string(state) + "/ssh/id_ed25519 -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null" +
                          " -o ConnectTimeout=60 -p " + ssh_port + " root@127.0.0.1 ";
  EXPECT_EQ(host_output(ssh + "hostname </dev/null"), machine_name + "\n");
  // A megabyte each way.
  EXPECT_EQ(host_output("head -c 1048576 /dev/zero | " + ssh + "'cat' | sha256sum"),
            "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58  -\n");
}

// Bulk traffic in both directions, by the usual program; the host is 10.0.2.2 there.
TEST_F(Debian, NetworkCarriesLoad) {
  const std::string port = std::to_string(std::stoi(ssh_port) + 20001);
  for (const char* direction : {"", "-R"}) {
    FILE* server = ::popen(("timeout 120 iperf3 -s -1 -B 127.0.0.1 -p " + port + " 2>&1").c_str(), "r");
    ASSERT_NE(server, nullptr);
    sleep_for(0.5);
    const Outcome client = in_guest("iperf3 -c 10.0.2.2 -n 64M -p " + port + " " + direction, 120);
    EXPECT_EQ(client.code, 0) << client.output << client.errors;
    EXPECT_THAT(client.output, HasSubstr("receiver"));
    ::pclose(server);
  }
}

TEST_F(Debian, SharedFolderHasTheSameBytes) {
  {
    std::ofstream file(shared_ + "/from-host", std::ios::binary);
    for (int i = 0; i < 300000; ++i) file << i << '\n';
  }
  const std::string host_sum = host_output("sha256sum <" + shared_ + "/from-host");
  EXPECT_EQ(in_guest("sha256sum </mnt/shared/from-host").output, host_sum);
  const Outcome written = in_guest("seq 1 400000 >/mnt/shared/from-guest && mkdir /mnt/shared/d && ln -s ../from-guest /mnt/shared/d/link && sha256sum </mnt/shared/d/link");
  EXPECT_EQ(written.code, 0) << written.errors;
  EXPECT_EQ(host_output("sha256sum <" + shared_ + "/d/link"), written.output);
  // Out of the folder leads no way.
  std::filesystem::create_symlink("/proc/sys/kernel/hostname", shared_ + "/outside");
  EXPECT_EQ(in_guest("cat /mnt/shared/outside").output, machine_name + "\n") << "the link is the guest's to follow, in the guest";
}

TEST_F(Debian, FilesGoInAndOut) {
  const std::string folder = scratch("copied");
  std::filesystem::create_directories(folder + "/in/sub");
  std::ofstream(folder + "/in/sub/file") << "content\n";
  std::filesystem::create_symlink("sub/file", folder + "/in/link");
  EXPECT_EQ(run({"cp", folder + "/in", machine_name + ":/root/copied"}, patience).code, 0);
  EXPECT_EQ(in_guest("cat /root/copied/link").output, "content\n");
  EXPECT_EQ(run({"cp", machine_name + ":/root/copied", folder + "/out"}, patience).code, 0);
  EXPECT_EQ(host_output("diff -r " + folder + "/in " + folder + "/out && echo same"), "same\n");
  std::filesystem::remove_all(folder);
}

// A machine for one command.
TEST(DebianRun, RunsACommandAndIsGone) {
  const std::string name = "once-" + std::to_string(::getpid());
  const Outcome outcome = run({"run", "--rm", "--name", name, "-m", "1G", "-c", "2", "--engine", "soft", "-e", "WHAT=fine", "debian", "sh", "-c",
                               "echo $WHAT; ip -brief address show scope global; exit 9"},
                              patience);
  EXPECT_EQ(outcome.code, 9) << outcome.errors;
  EXPECT_THAT(outcome.output, ::testing::StartsWith("fine\n"));
  EXPECT_THAT(outcome.output, HasSubstr("10.0.2.15")) << "the network is up before the command";
  EXPECT_THAT(run({"ps", "-a"}, 60).output, Not(HasSubstr(name)));
}

// Last: the machine is shut down and comes back.
TEST_F(Debian, ZSecondStartFindsItsDisk) {
  ASSERT_EQ(in_guest("seq 1 500000 >/root/kept && sha256sum </root/kept >/root/kept.sum && sync").code, 0);
  const Outcome stopped = run({"stop", machine_name}, patience);
  ASSERT_EQ(stopped.code, 0) << stopped.errors;
  EXPECT_THAT(run({"logs", machine_name}, 60).output, HasSubstr("Power down"));
  EXPECT_THAT(run({"ps", "-a"}, 60).output, HasSubstr("stopped"));
  ASSERT_EQ(run({"start", "-d", machine_name}, patience).code, 0);
  wait_until_up();
  EXPECT_EQ(state_, "running");
  EXPECT_EQ(in_guest("sha256sum </root/kept").output, in_guest("cat /root/kept.sum").output);
  EXPECT_THAT(in_guest("dmesg").output, Not(HasSubstr("recovery complete"))) << "the file system was not unmounted";
}

}  // namespace
}  // namespace nagaya::system_test
