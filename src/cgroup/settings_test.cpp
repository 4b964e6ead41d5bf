#include "cgroup/settings.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace nagaya::cgroup {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

Writes v1(std::string_view controller, const Resources& resources, Notices* notices = nullptr) {
  return writes_v1(controller, resources, "", notices).value();
}
Writes v2(std::string_view controller, const Resources& resources, Notices* notices = nullptr) {
  return writes_v2(controller, resources, "", notices).value();
}

TEST(Settings, NothingAskedNothingWritten) {
  Resources empty;
  empty.memory.emplace();
  empty.cpu.emplace();
  empty.block_io.emplace();
  for (const auto controller : all_controllers) {
    EXPECT_THAT(v1(controller, empty), SizeIs(0)) << controller;
    EXPECT_THAT(v2(controller, empty), SizeIs(0)) << controller;
  }
}

TEST(Settings, Cpu) {
  Resources r;
  r.cpu.emplace();
  r.cpu->shares = 1024;
  r.cpu->quota = 50000;
  r.cpu->period = 100000;
  r.cpu->burst = 1000;
  EXPECT_THAT(v1("cpu", r), ElementsAre(Write{"cpu.shares", "1024"}, Write{"cpu.cfs_period_us", "100000"},
                                        Write{"cpu.cfs_quota_us", "50000"}, Write{"cpu.cfs_burst_us", "1000"}));
  EXPECT_THAT(v2("cpu", r), ElementsAre(Write{"cpu.weight", "100"}, Write{"cpu.max", "50000 100000"},
                                        Write{"cpu.max.burst", "1000"}));
  r.cpu->quota = -1;
  EXPECT_THAT(v2("cpu", r)[1], (Write{"cpu.max", "max 100000"}));
  r.cpu->realtime_runtime = 5;
  EXPECT_FALSE(writes_v2("cpu", r, "", nullptr));
}

TEST(Settings, APeriodAloneKeepsTheQuota) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "nagaya-settings";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "cpu.max") << "70000 100000\n";
  Resources r;
  r.cpu.emplace();
  r.cpu->period = 200000;
  EXPECT_THAT(writes_v2("cpu", r, folder, nullptr).value(), ElementsAre(Write{"cpu.max", "70000 200000"}));
  std::filesystem::remove_all(folder);
}

TEST(Settings, Memory) {
  Resources r;
  r.memory.emplace();
  r.memory->limit = 1000;
  r.memory->swap = 3000;
  r.memory->reservation = 500;
  r.memory->kernel = 7;
  r.memory->swappiness = 60;
  r.memory->disable_oom_killer = true;
  Notices notices;
  EXPECT_THAT(v1("memory", r, &notices),
              ElementsAre(Write{"memory.limit_in_bytes", "1000"}, Write{"memory.memsw.limit_in_bytes", "3000"},
                          Write{"memory.soft_limit_in_bytes", "500"}, Write{"memory.swappiness", "60"},
                          Write{"memory.oom_control", "1"}));
  EXPECT_THAT(notices, ElementsAre(HasSubstr("kernel")));
  notices.clear();
  EXPECT_THAT(v2("memory", r, &notices),
              ElementsAre(Write{"memory.swap.max", "2000"}, Write{"memory.max", "1000"}, Write{"memory.low", "500"}));
  EXPECT_THAT(notices, SizeIs(3));
  r.memory->swap = 10;
  EXPECT_FALSE(writes_v1("memory", r, "", nullptr));
  EXPECT_FALSE(writes_v2("memory", r, "", nullptr));
  r.memory->swap.reset();
  r.memory->limit = -1;
  EXPECT_EQ(v1("memory", r)[1].value, "-1") << "memory and swap are lifted with memory";
  EXPECT_EQ(v2("memory", r)[1].value, "max");
  r.memory->swappiness = 101;
  EXPECT_FALSE(writes_v1("memory", r, "", nullptr));
}

TEST(Settings, BlockIo) {
  Resources r;
  r.block_io.emplace();
  r.block_io->weight = 100;
  r.block_io->weight_devices = {{.major = 8, .minor = 0, .weight = 500, .leaf_weight = {}}};
  r.block_io->read_bps = {{8, 0, 1000}, {8, 16, 5}};
  r.block_io->write_iops = {{8, 0, 0}};
  const auto old = v1("blkio", r);
  ASSERT_THAT(old, SizeIs(5));
  EXPECT_EQ(old[0], (Write{"blkio.weight", "100", "blkio.bfq.weight", "100"}));
  EXPECT_EQ(old[1], (Write{"blkio.weight_device", "8:0 500", "blkio.bfq.weight_device", "8:0 500"}));
  EXPECT_EQ(old[2], (Write{"blkio.throttle.read_bps_device", "8:0 1000"}));
  EXPECT_EQ(old[4], (Write{"blkio.throttle.write_iops_device", "8:0 0"}));
  const auto now = v2("blkio", r);
  ASSERT_THAT(now, SizeIs(4));
  EXPECT_EQ(now[0], (Write{"io.bfq.weight", "100", "io.weight", "910"}));
  EXPECT_EQ(now[1].other_value, "8:0 4950");
  EXPECT_EQ(now[2], (Write{"io.max", "8:0 rbps=1000 wiops=max"}));
  EXPECT_EQ(now[3], (Write{"io.max", "8:16 rbps=5"}));
}

TEST(Settings, Others) {
  Resources r;
  r.pids_limit = -1;
  r.hugepages = {{"2MB", 4096}};
  r.rdma = {{"mlx5_1", 3, {}}};
  r.net_class_id = 0x100001;
  r.net_priorities = {{"eth0", 5}};
  EXPECT_THAT(v1("pids", r), ElementsAre(Write{"pids.max", "max"}));
  EXPECT_EQ(v1("hugetlb", r)[0], (Write{"hugetlb.2MB.limit_in_bytes", "4096"}));
  EXPECT_EQ(v2("hugetlb", r)[0], (Write{"hugetlb.2MB.max", "4096"}));
  EXPECT_TRUE(v2("hugetlb", r)[1].may_miss);
  EXPECT_THAT(v2("rdma", r), ElementsAre(Write{"rdma.max", "mlx5_1 hca_handle=3"}));
  EXPECT_THAT(v1("net_cls", r), ElementsAre(Write{"net_cls.classid", "1048577"}));
  EXPECT_THAT(v1("net_prio", r), ElementsAre(Write{"net_prio.ifpriomap", "eth0 5"}));
  r.hugepages = {{"../x", 1}};
  EXPECT_FALSE(writes_v1("hugetlb", r, "", nullptr));
  r.rdma = {{"a b", 1, {}}};
  EXPECT_FALSE(writes_v2("rdma", r, "", nullptr));
}

TEST(Settings, UnifiedNamesStayInTheGroup) {
  Resources r;
  r.unified = {{"memory.high", "1000"}, {"io.max", "8:0 rbps=1\n8:16 wbps=2\n"}};
  EXPECT_THAT(writes_unified(r).value(),
              ElementsAre(Write{"memory.high", "1000"}, Write{"io.max", "8:0 rbps=1"}, Write{"io.max", "8:16 wbps=2"}));
  for (const char* bad : {"", "memory", "../memory.max", "memory.max/", "cgroup.procs", "cgroup.kill", ".x", "a b.c"}) {
    r.unified = {{bad, "1"}};
    EXPECT_FALSE(writes_unified(r)) << bad;
  }
}

}  // namespace
}  // namespace nagaya::cgroup
