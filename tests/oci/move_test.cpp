// A running container moves between two state directories over one stream.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "migrate/migrate.hpp"
#include "oci/bundle.hpp"

namespace nagaya::oci_test {
namespace {
namespace fs = std::filesystem;
using ::testing::HasSubstr;

class OciMove : public ::testing::Test {
 protected:
  void SetUp() override {
    NEEDS_CONTAINERS();
    const char* criu = std::getenv("NAGAYA_CRIU");
    if (criu == nullptr || ::access(criu, X_OK) != 0) GTEST_SKIP() << "no CRIU of 4.1 or newer: scripts/fetch-criu fetches one";
    if (const Outcome checked = run_program({criu, "check"}); checked.code != 0) GTEST_SKIP() << "CRIU cannot work here: " << checked.err;
    ::signal(SIGPIPE, SIG_IGN);
    fs::copy_file(std::getenv("NAGAYA_OCI_WORKER"), from_.rootfs + "/bin/worker");
    fs::remove_all(to_.rootfs);
    from_.config["root"]["readonly"] = false;
    from_.process({"/bin/worker", "/tmp/out", "16"});
    from_.write("rootfs/tmp/gone", "later");
    from_.write_config();
    const Outcome begun = from_.oci({"run", "-d", "-b", from_.path, "c"});
    ASSERT_EQ(begun.code, 0) << begun.err;
    ASSERT_TRUE(wait_beyond(from_, 2));
  }

  /// Both ends, each as its own process would be; the target's result is written to `arrived`.
  Result<migrate::Report> move(const std::function<Result<>(container::Spec&)>& prepare = {}) {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    const pid_t target = ::fork();
    if (target == 0) {
      ::close(ends[0]);
      migrate::Stream stream(ends[1], ends[1]);
      migrate::TargetOptions options;
      options.state_root = to_.root;
      options.bundle = to_.path;
      options.work = to_.path + "/moving";
      options.prepare = prepare;
      // Both sides are on one host.
      options.adapt = [this](container::Spec& spec) -> Result<> {
        spec.linux.cgroups_path = to_.config["linux"]["cgroupsPath"];
        return {};
      };
      const auto state = migrate::receive_container(stream, options);
      std::ofstream(to_.path + "/arrived") << (state ? "running" : state.error().message());
      ::_exit(0);
    }
    ::close(ends[1]);
    migrate::Stream stream(ends[0], ends[0]);
    migrate::SourceOptions options;
    options.state_root = from_.root;
    options.id = "c";
    options.work = from_.path + "/moving";
    options.rounds = 3;
    auto report = migrate::send_container(stream, options);
    ::close(ends[0]);
    ::waitpid(target, nullptr, 0);
    return report;
  }

  static int lines(const Bundle& bundle) {
    std::istringstream text(bundle.read("rootfs/tmp/out"));
    int count = 0;
    for (std::string line; std::getline(text, line); ++count) {
      if (line == std::to_string(count) + " ok") continue;
      ADD_FAILURE() << "line " << count << ": " << line;
      return -1;
    }
    return count;
  }
  static bool wait_beyond(const Bundle& bundle, int count) {
    for (int i = 0; i < 300 && lines(bundle) >= 0; ++i) {
      if (lines(bundle) > count) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return false;
  }

  Bundle from_, to_;
};

TEST_F(OciMove, GoesOnAtTheOtherSide) {
  fs::remove(from_.rootfs + "/tmp/gone");
  const auto report = move();
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(to_.read("arrived"), "running");
  EXPECT_TRUE(from_.state("c").is_null());
  EXPECT_EQ(to_.state("c")["status"], "running");
  const int before = lines(from_);
  EXPECT_TRUE(wait_beyond(to_, before + 2));
  EXPECT_EQ(lines(from_), before);
  // Rounds while it ran spare the last one most of the memory: 16 MiB, of which a few pages change.
  ASSERT_GE(report->page_bytes.size(), 2u);
  EXPECT_LT(report->page_bytes.back(), report->page_bytes.front() / 4);
  EXPECT_GT(report->standstill_s, 0);
  std::printf("standstill %.3f s, %lu bytes, memory in rounds:", report->standstill_s, static_cast<unsigned long>(report->bytes));
  for (const u64 bytes : report->page_bytes) std::printf(" %lu", static_cast<unsigned long>(bytes));
  std::printf("\n");
  for (const Bundle* side : {&from_, &to_}) EXPECT_FALSE(fs::exists(side->path + "/moving"));
}

TEST_F(OciMove, AFailureAtTheOtherSideLeavesItHere) {
  const auto report = move([](container::Spec&) -> Result<> { return fail("no room for it"); });
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().message(), HasSubstr("no room for it"));
  EXPECT_EQ(from_.state("c")["status"], "running");
  EXPECT_TRUE(wait_beyond(from_, lines(from_) + 2));
  EXPECT_TRUE(to_.state("c").is_null());
}

TEST_F(OciMove, ATargetThatDiesLeavesItHere) {
  const auto report = move([](container::Spec&) -> Result<> { ::_exit(9); });
  ASSERT_FALSE(report);
  EXPECT_EQ(from_.state("c")["status"], "running");
  EXPECT_TRUE(wait_beyond(from_, lines(from_) + 2));
}

}  // namespace
}  // namespace nagaya::oci_test
