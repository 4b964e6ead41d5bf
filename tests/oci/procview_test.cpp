// What a container sees of itself in /proc and /sys through nagaya-procview, and what becomes of it when parts of the
// server are killed.
#include "procview/procview.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "oci/limits/hogs.hpp"

namespace nagaya::oci_test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::string content(const fs::path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

class OciProcview : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = missing(); !why.empty()) GTEST_SKIP() << why;
    if (::access("/dev/fuse", R_OK | W_OK) != 0) GTEST_SKIP() << "no /dev/fuse";
    std::string name = fs::temp_directory_path().string() + "/nagaya-view.XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = fs::canonical(name);
    start();
  }
  void TearDown() override {
    server_ = {};
    std::error_code ignored;
    if (!folder_.empty()) fs::remove_all(folder_, ignored);
  }
  void start() {
    server_ = {};
    const char* program = std::getenv("NAGAYA_PROCVIEW");
    auto started = procview::Server::start(folder_, program != nullptr ? program : "nagaya-procview");
    ASSERT_TRUE(started) << started.error().message();
    const auto ready = started->ready();
    ASSERT_TRUE(ready) << ready.error().message();
    server_ = std::move(*started);
  }
  /// Keeper and worker.
  [[nodiscard]] std::vector<pid_t> servers() const {
    std::vector<pid_t> out;
    for (const auto& entry : fs::directory_iterator("/proc")) {
      const std::string name = entry.path().filename();
      pid_t pid = 0;
      if (std::from_chars(name.data(), name.data() + name.size(), pid).ec != std::errc{}) continue;
      if (content(entry.path() / "cmdline").find(folder_) != std::string::npos) out.push_back(pid);
    }
    return out;
  }
  [[nodiscard]] pid_t worker() const {
    for (const pid_t pid : servers()) {
      if (pid != server_.pid()) return pid;
    }
    return 0;
  }
  /// The mounts for a container whose group is at `cgroup`.
  Json mounts(const std::string& cgroup) {
    Json out = Json::array();
    const auto binds = procview::add(folder_, {.name = "c", .cgroup = cgroup});
    EXPECT_TRUE(binds);
    for (const auto& [source, destination] : *binds) {
      if (!fs::exists(destination)) continue;  // slabinfo is not on every host
      out.push_back({{"destination", destination},
                     {"type", "bind"},
                     {"source", source},
                     {"options", {"bind", "ro", "nosuid", "nodev", "noexec"}}});
    }
    return out;
  }
  std::string folder_;
  procview::Server server_;
};

TEST_F(OciProcview, ShowsTheContainersOwnLimits) {
  Bundle b;
  for (const auto& mount : mounts(b.config["linux"]["cgroupsPath"])) b.config["mounts"].push_back(mount);
  b.config["linux"]["resources"]["memory"] = {{"limit", 96 << 20}};
  b.config["linux"]["resources"]["cpu"] = {{"cpus", "0"}};
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const Outcome seen = b.run(
      "grep MemTotal /proc/meminfo | tr -s ' '; busybox nproc; grep -c "
      "^processor /proc/cpuinfo;"
      "cat /sys/devices/system/cpu/online; grep -c '^cpu[0-9]' /proc/stat; cut -d. -f1 /proc/uptime; cut -d' ' -f1-3 "
      "/proc/loadavg | grep -c '^[0-9. ]*$';"
      "wc -l </proc/swaps; echo x 2>/dev/null >/proc/meminfo || echo read-only");
  ASSERT_EQ(seen.code, 0) << seen.err;
  std::istringstream in(seen.out);
  std::string line;
  const auto next = [&] {
    std::getline(in, line);
    return line;
  };
  EXPECT_EQ(next(), "MemTotal: 98304 kB");
  EXPECT_EQ(next(), "1");
  EXPECT_EQ(next(), "1");
  EXPECT_EQ(next(), "0");
  EXPECT_EQ(next(), "1");
  EXPECT_LT(std::stoll(next()), std::stoll(content("/proc/uptime"))) << "uptime begins with the container";
  EXPECT_EQ(next(), "1");
  EXPECT_GE(std::stoi(next()), 1);
  EXPECT_EQ(next(), "read-only");
}

TEST_F(OciProcview, AQuotaIsANumberOfProcessors) {
  Bundle b;
  for (const auto& mount : mounts(b.config["linux"]["cgroupsPath"])) b.config["mounts"].push_back(mount);
  b.config["linux"]["resources"]["cpu"] = {{"quota", 50000}, {"period", 100000}};
  EXPECT_EQ(b.run("grep -c ^processor /proc/cpuinfo; cat /sys/devices/system/cpu/online | grep -c ^0$").out, "1\n1\n");
}

TEST_F(OciProcview, AKilledWorkerIsFollowedByAnother) {
  Bundle b;
  for (const auto& mount : mounts(b.config["linux"]["cgroupsPath"])) b.config["mounts"].push_back(mount);
  b.config["linux"]["resources"]["memory"] = {{"limit", 64 << 20}};
  b.config["root"]["readonly"] = false;
  b.script(
      "i=0; while true; do grep -q 'MemTotal: *65536 kB' /proc/meminfo || echo bad >>/bad; i=$((i+1)); echo $i "
      ">/count; done");
  b.write_config();
  ASSERT_EQ(b.oci({"run", "-d", "-b", b.path, "c"}).code, 0);
  const auto count = [&] { return std::atoi(content(b.rootfs + "/count").c_str()); };
  for (int round = 0; round < 5; ++round) {
    const int before = count();
    ASSERT_TRUE(soon([&] { return worker() != 0; }));
    ::kill(worker(), SIGKILL);
    ASSERT_TRUE(soon([&] { return count() > before + 5; })) << "a reader hangs";
  }
  EXPECT_EQ(content(b.rootfs + "/bad"), "");
}

/// A request of its own when the worker dies over it: no reader waits for ever, also not on kernels that ask again.
TEST_F(OciProcview, WhatAKilledWorkerWasAskedIsAnswered) {
  ASSERT_TRUE(procview::add(folder_, {.name = "c", .cgroup = "/none"}));
  std::atomic<bool> over = false;
  std::atomic<int> reads = 0, failures = 0;
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      while (!over) {
        failures += content(folder_ + "/mnt/c/proc/meminfo").find("MemTotal") == std::string::npos;
        ++reads;
      }
    });
  }
  for (int round = 0; round < 8; ++round) {
    const int before = reads;
    const bool goes_on = soon([&] { return worker() != 0 && reads > before + 20; });
    EXPECT_TRUE(goes_on) << "a reader hangs";
    if (!goes_on) break;
    ::kill(worker(), SIGKILL);
  }
  over = true;
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(failures, 0);
}

TEST_F(OciProcview, WithoutAServerContainersGoOn) {
  Bundle b;
  for (const auto& mount : mounts(b.config["linux"]["cgroupsPath"])) b.config["mounts"].push_back(mount);
  b.script("sleep 1000");
  b.write_config();
  ASSERT_EQ(b.oci({"run", "-d", "-b", b.path, "c"}).code, 0);
  const auto shell = [&](const std::string& script) { return b.oci({"exec", "c", "/bin/sh", "-c", script}); };
  EXPECT_EQ(shell("cat /proc/uptime >/dev/null").code, 0);
  ASSERT_EQ(servers().size(), 2u);
  ::kill(server_.pid(), SIGKILL);
  ASSERT_TRUE(soon([&] { return servers().empty(); })) << "a worker does not outlive its keeper";
  const Outcome after = shell("cat /proc/uptime; echo lives");
  EXPECT_EQ(after.out, "lives\n");
  EXPECT_THAT(after.err, HasSubstr("not connected"));
  EXPECT_EQ(b.oci({"delete", "-f", "c"}).code, 0);
  start();  // over what the dead one left
  Bundle next;
  for (const auto& mount : mounts(next.config["linux"]["cgroupsPath"])) next.config["mounts"].push_back(mount);
  EXPECT_EQ(next.run("cat /proc/uptime >/dev/null && echo seen").out, "seen\n");
}

TEST_F(OciProcview, AStoppedServerDoesNotHoldAContainersEnd) {
  Bundle b;
  for (const auto& mount : mounts(b.config["linux"]["cgroupsPath"])) b.config["mounts"].push_back(mount);
  b.script("while true; do cat /proc/meminfo >/tmp/m; done");
  b.write_config();
  ASSERT_EQ(b.oci({"run", "-d", "-b", b.path, "c"}).code, 0);
  ASSERT_TRUE(soon([&] { return servers().size() == 2; }));
  for (const pid_t pid : servers()) ::kill(pid, SIGSTOP);
  EXPECT_EQ(b.oci({"kill", "c", "KILL"}).code, 0);
  EXPECT_EQ(b.oci({"delete", "-f", "c"}).code, 0);
}

TEST_F(OciProcview, AContainerOpensSomeFilesOnly) {
  ASSERT_TRUE(procview::add(folder_, {.name = "c", .cgroup = "/none"}));
  std::vector<host::Fd> open;
  while (open.size() < 4096) {
    host::Fd file(::open((folder_ + "/mnt/c/proc/uptime").c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) break;
    open.push_back(std::move(file));
  }
  EXPECT_LT(open.size(), 4096u);
  open.clear();
  EXPECT_TRUE(soon([&] { return content(folder_ + "/mnt/c/proc/uptime") != ""; }));
}

TEST_F(OciProcview, AStoppedContainersFilesAreGone) {
  ASSERT_TRUE(procview::add(folder_, {.name = "c", .cgroup = "/none"}));
  EXPECT_THAT(content(folder_ + "/mnt/c/proc/meminfo"), HasSubstr("MemTotal"));
  // A next start of it has files of its own, under the same name.
  ASSERT_TRUE(procview::add(folder_, {.name = "c", .cgroup = "/none"}));
  EXPECT_THAT(content(folder_ + "/mnt/c/proc/meminfo"), HasSubstr("MemTotal"));
  ASSERT_TRUE(procview::remove(folder_, "c"));
  EXPECT_FALSE(fs::exists(folder_ + "/mnt/c/proc/meminfo"));
  server_ = {};
  EXPECT_TRUE(servers().empty());
  EXPECT_TRUE(fs::is_empty(folder_ + "/mnt")) << "its mount is gone";
}

}  // namespace
}  // namespace nagaya::oci_test
