#include "domain/machine_group.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/scope.hpp"
#include "domain/machine_update.hpp"

namespace nagaya::domain {
namespace {

std::string text_of(const std::string& path) {
  std::ifstream in(path);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

class MachineGroupTest : public ::testing::Test {
 protected:
  MachineGroupTest() {
    char name[] = "/tmp/nagaya-group-XXXXXX";
    EXPECT_NE(::mkdtemp(name), nullptr);
    machine_.spec.name = "test-" + std::to_string(::getpid());
    machine_.spec.image = "i";
    machine_.places.folder = name;
    machine_.places.runtime = name;
    config_.memory = 64 * MiB;
  }
  ~MachineGroupTest() override {
    remove_left_group(machine_);
    std::filesystem::remove_all(machine_.places.folder);
  }
  [[nodiscard]] bool noted() const { return std::filesystem::exists(machine_.places.group()); }
  /// A process that joined and waits, or -1.
  static pid_t member(const MachineGroup& group) {
    const pid_t child = ::fork();
    if (child == 0) {
      if (!group.join()) ::_exit(1);
      for (;;) ::pause();
    }
    return child;
  }
  [[nodiscard]] bool joined(pid_t process) const {
    for (int i = 0; i < 500; ++i) {
      if (text_of("/proc/" + std::to_string(process) + "/cgroup").find("/nagaya/" + machine_.spec.name) != std::string::npos) return true;
      ::usleep(10'000);
    }
    return false;
  }
  Machine machine_;
  proto::VmConfig config_;
};

TEST_F(MachineGroupTest, AProcessIsInItWhileItRuns) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root makes cgroups here";
  machine_.spec.limits.cpu_thousandths = 500;
  machine_.spec.limits.cpu_shares = 512;
  auto made = MachineGroup::make(machine_, config_);
  if (!made) GTEST_SKIP() << made.error().message();
  auto group = std::make_unique<MachineGroup>(std::move(*made));
  EXPECT_TRUE(noted());
  const pid_t process = member(*group);
  EXPECT_TRUE(joined(process));
  const auto layout = cgroup::read_layout().value();
  const auto there = cgroup::Group::open(layout, text_of(machine_.places.group())).value();
  const auto stats = there.stats().value();
  EXPECT_EQ(stats.memory_limit, process_memory(config_));
  const std::string cpu = there.folder("cpu");
  EXPECT_NE(text_of(cpu + "/cpu.cfs_quota_us") + text_of(cpu + "/cpu.max"), "");
  EXPECT_TRUE(text_of(cpu + "/cpu.cfs_quota_us") == "50000\n" || text_of(cpu + "/cpu.max") == "50000 100000\n");
  ::kill(process, SIGKILL);
  ::waitpid(process, nullptr, 0);
  group.reset();
  EXPECT_FALSE(noted());
  EXPECT_FALSE(std::filesystem::exists(cpu));
}

TEST_F(MachineGroupTest, WhatAKilledMonitorLeftIsRemovedWithItsProcesses) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root makes cgroups here";
  machine_.spec.limits.pids = 100;
  // A monitor that dies with its machine's process alive.
  const pid_t monitor = ::fork();
  if (monitor == 0) {
    auto made = MachineGroup::make(machine_, config_);
    if (!made) ::_exit(77);
    const pid_t process = member(*made);
    if (!joined(process)) ::_exit(1);
    ::_exit(0);  // no destructor runs
  }
  int status = 0;
  ::waitpid(monitor, &status, 0);
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "no cgroups here";
  ASSERT_EQ(status, 0);
  ASSERT_TRUE(noted());
  const auto layout = cgroup::read_layout().value();
  const auto left = cgroup::Group::open(layout, text_of(machine_.places.group())).value();
  ASSERT_EQ(left.processes().value().size(), 1u);
  const pid_t process = left.processes().value()[0];
  remove_left_group(machine_);
  EXPECT_FALSE(noted());
  EXPECT_FALSE(std::filesystem::exists(left.folder("memory")));
  EXPECT_EQ(text_of("/proc/" + std::to_string(process) + "/cgroup").find("/nagaya/"), std::string::npos);
}

TEST_F(MachineGroupTest, RoomForTheProcessGrowsWithWhatItHas) {
  config_.engine = "kvm";
  const u64 least = process_memory(config_);
  EXPECT_GE(least, config_.memory + 128 * MiB);
  config_.engine = "auto";  // may well be the software engine
  config_.disks.resize(2);
  EXPECT_GE(process_memory(config_), least + 256 * MiB + 64 * MiB);
  config_.soft.code_cache = GiB;
  EXPECT_GE(process_memory(config_), least + 2 * GiB);
}

TEST_F(MachineGroupTest, LimitsAreKeptInTheDefinition) {
  MachineSpec spec = machine_.spec;
  spec.limits = {.memory_reservation = 64 * MiB,
                 .cpu_thousandths = 1500,
                 .cpu_shares = 512,
                 .cpuset_cpus = "0-1",
                 .cpuset_mems = "0",
                 .pids = 100,
                 .blkio_weight = 300,
                 .read_bps = {"/dev/vda:1000"},
                 .write_iops = {"/dev/vda:10"}};
  spec.numa_node = 0;
  const auto again = MachineSpec::from_json(spec.to_json());
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(*again, spec);
  spec.limits.cpu_shares = 1;
  EXPECT_FALSE(spec.validate());
}

MachineSpec with(u64 memory, unsigned vcpus, u64 thousandths = 0) {
  MachineSpec out{.name = "m", .image = "i", .memory = memory, .vcpus = vcpus};
  out.limits.cpu_thousandths = thousandths;
  return out;
}

TEST(LiveLimits, WhatRunsStaysWithinWhatItWasStartedWith) {
  struct Case {
    MachineSpec before, wanted;
    bool possible;
    i64 quota;  // 0: not said
  };
  const Started started{.memory = GiB, .vcpus = 2};
  const Case cases[] = {
      {with(GiB, 2), with(GiB, 2), true, 0},
      {with(GiB, 2), with(GiB / 2, 2), true, 0},
      {with(GiB / 2, 2), with(GiB, 2), true, 0},
      {with(GiB, 2), with(GiB + MiB, 2), false, 0},
      {with(GiB, 2), with(GiB, 3), false, 0},
      {with(GiB, 2), with(GiB, 2, 1500), true, 150'000},
      {with(GiB, 2), with(GiB, 1), true, 100'000},
      {with(GiB, 2), with(GiB, 1, 250), true, 25'000},
      {with(GiB, 1), with(GiB, 2), true, -1},
      {with(GiB, 2, 1500), with(GiB, 2), true, -1},
      {with(GiB, 2, 1500), with(GiB, 3, 2500), false, 0},
  };
  for (const Case& one : cases) {
    const auto got = live_resources(one.before, one.wanted, started);
    ASSERT_EQ(got.has_value(), one.possible) << one.wanted.to_json();
    if (!got) {
      EXPECT_EQ(got.error().code, EBUSY);
      continue;
    }
    EXPECT_EQ(got->cpu ? got->cpu->quota.value_or(0) : 0, one.quota) << one.wanted.to_json();
    EXPECT_FALSE(got->memory);
  }
}

TEST_F(MachineGroupTest, TheLimitOfItsStartIsKnown) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root makes cgroups here";
  EXPECT_FALSE(started_limit(machine_));
  EXPECT_FALSE(running_group(machine_).value());
  const auto made = MachineGroup::make(machine_, config_);
  if (!made || !noted()) GTEST_SKIP() << "no cgroups here";
  EXPECT_EQ(started_limit(machine_), process_memory(config_));
  EXPECT_TRUE(running_group(machine_).value());
  for (const char* nonsense : {"", "0", "x", "-1"}) {
    std::ofstream(machine_.places.group_limit()) << nonsense;
    EXPECT_FALSE(started_limit(machine_)) << nonsense;
  }
}

}  // namespace
}  // namespace nagaya::domain
