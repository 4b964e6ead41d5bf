#include "procview/server/texts.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "procview/server/sight.hpp"

namespace nagaya::procview {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using namespace std::chrono_literals;

constexpr u64 second = 1'000'000'000;

Facts some() {
  Facts f;
  f.memory_total = 64 * MiB;
  f.swap_total = 8 * MiB;
  f.cpus = {1, 3};
  f.uptime = 100 * second;
  f.started = 1'700'000'000 * second;
  f.stats.memory = 40 * MiB;
  f.stats.memory_file = 16 * MiB;
  f.stats.memory_shmem = 4 * MiB;
  f.stats.swap = 2 * MiB;
  f.stats.cpu_ns = 50 * second;
  f.stats.cpu_user_ns = 31 * second;
  f.stats.cpu_system_ns = 19 * second;
  f.running = 2;
  f.threads = 9;
  f.last_pid = 77;
  f.load[0] = 1.5;
  return f;
}

TEST(Texts, MeminfoIsTheContainersInTheHostsForm) {
  const std::string text = meminfo_text(
      "MemTotal:       24683656 kB\nMemFree:        18146452 kB\nMemAvailable:   21389600 kB\nBuffers:           39516 "
      "kB\nCached:          3171896 kB\n"
      "SwapTotal:             9 kB\nSwapFree:              9 kB\nDirectMap1G:    25165824 kB\nVmallocTotal:   "
      "34359738367 kB\nHugePages_Total:       5\nnonsense\n",
      some());
  EXPECT_EQ(text,
            "MemTotal:          65536 kB\nMemFree:           24576 kB\nMemAvailable:      36864 kB\nBuffers:           "
            "    0 kB\nCached:            16384 kB\n"
            "SwapTotal:          8192 kB\nSwapFree:           6144 kB\nDirectMap1G:           0 kB\nVmallocTotal:   "
            "34359738367 kB\nHugePages_Total:       0\n");
}

TEST(Texts, MoreInUseThanTheLimitIsNoNegativeNumber) {
  Facts f = some();
  f.stats.memory = 100 * MiB;
  f.stats.memory_shmem = 200 * MiB;
  f.stats.swap = 100 * MiB;
  const std::string text = meminfo_text("MemFree: 1 kB\nMemAvailable: 1 kB\nSwapFree: 1 kB\n", f);
  std::istringstream in(text);
  std::string name;
  u64 value = 1;
  for (std::string unit; in >> name >> value >> unit;) EXPECT_EQ(value, 0u) << name;
}

TEST(Texts, CpuinfoHasTheContainersProcessors) {
  std::string host;
  for (int i = 0; i < 12; ++i) host += "processor\t: " + std::to_string(i) + "\nmodel name\t: X\n\n";
  EXPECT_EQ(cpuinfo_text(host, some()), "processor\t: 1\nmodel name\t: X\n\nprocessor\t: 3\nmodel name\t: X\n\n");
  EXPECT_EQ(cpuinfo_text("processor\t: 3", some()), "processor\t: 3\n");
  EXPECT_EQ(cpuinfo_text("processor", some()), "");
}

TEST(Texts, StatAddsUp) {
  const std::string text = stat_text(
      "cpu  9 9 9\ncpu0 1 1 1\ncpu1 1 1 1\nintr 5 6 7\nctxt 99\nbtime 4\nprocesses 9\nprocs_running 5\nsoftirq 3 4\n",
      some(), 100);
  EXPECT_EQ(text,
            "cpu  3100 0 1900 15000 0 0 0 0 0 0\ncpu1 1550 0 950 7500 0 0 0 0 0 0\ncpu3 1550 0 950 7500 0 0 0 0 0 "
            "0\nintr 0\nctxt 0\nbtime 1700000000\n"
            "processes 77\nprocs_running 2\nsoftirq 0\n");
  Facts odd = some();
  odd.cpus = {0, 1, 2};
  odd.stats.cpu_user_ns = 100 * (second / 100);
  EXPECT_THAT(stat_text("", odd, 100), HasSubstr("cpu0 33 0")) << "and the last has 34";
  EXPECT_THAT(stat_text("", odd, 100), HasSubstr("cpu2 34 0"));
}

TEST(Texts, UptimeLoadSwapsDisks) {
  EXPECT_EQ(uptime_text(some()), "100.00 150.00\n");
  EXPECT_EQ(loadavg_text(some()), "1.50 0.00 0.00 2/9 77\n");
  EXPECT_THAT(swaps_text(some()), HasSubstr("8192\t2048\t0\n"));
  Facts none = some();
  none.swap_total = 0;
  EXPECT_THAT(swaps_text(none), Not(HasSubstr("virtual")));
  none.stats.disks = {{.major = 8, .minor = 0, .read_bytes = 1024, .write_bytes = 512, .reads = 2, .writes = 1},
                      {.major = 9, .minor = 9}};
  const auto name = [](u64 major, u64) { return major == 8 ? std::string("sda") : std::string(); };
  EXPECT_EQ(diskstats_text(none, name), "   8       0 sda 2 0 2 0 1 0 1 0 0 0 0 0 0 0 0 0 0\n");
}

TEST(Texts, CpuLists) {
  EXPECT_EQ(cpu_list_text(std::vector<unsigned>{0, 1, 2, 5, 7, 8}), "0-2,5,7-8\n");
  EXPECT_THAT(parse_cpu_list("0-2,9\n"), ElementsAre(0u, 1u, 2u, 9u));
  EXPECT_THAT(parse_cpu_list(""), ElementsAre());
  EXPECT_THAT(parse_cpu_list("3-1"), ElementsAre());
  EXPECT_THAT(parse_cpu_list("1,x"), ElementsAre(1u));
  EXPECT_THAT(parse_cpu_list("0-4000000000"), ElementsAre());
}

TEST(Loads, StartAtWhatIsSeenAndFollow) {
  Load load;
  const Clock::time_point start{};
  load.sample(4, start);
  EXPECT_DOUBLE_EQ(load.average(0), 4);
  EXPECT_DOUBLE_EQ(load.average(2), 4);
  for (int i = 1; i <= 60; ++i) load.sample(0, start + i * 5s);
  EXPECT_LT(load.average(0), 0.1) << "five minutes later";
  EXPECT_GT(load.average(2), 2.0);
  EXPECT_LT(load.average(1), load.average(2));
}

}  // namespace
}  // namespace nagaya::procview
