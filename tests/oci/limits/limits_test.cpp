// Limits hold: each hog stays inside its share while a neighbour keeps its own. What is compared are counts of the
// kernel and their ratios, never times: the machine may be as busy as it likes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "oci/limits/hogs.hpp"

namespace nagaya::oci_test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

bool has(const char* controller) {
  const auto layout = cgroup::read_layout();
  const auto* hierarchy = layout ? layout->find(controller) : nullptr;
  return hierarchy != nullptr && hierarchy->writable;
}

#define NEEDS_CONTROLLER(name) \
  NEEDS_CONTAINERS();          \
  if (!has(name)) GTEST_SKIP() << "no cgroup hierarchy with the controller " << name

TEST(OciLimits, AForkBombFillsItsOwnNumberOnly) {
  NEEDS_CONTROLLER("pids");
  constexpr int most = 40;
  // awk goes on when it cannot fork, as a real bomb does.
  Running bomb("exec awk 'BEGIN { while (1) system(\"sleep 1000 & sleep 1000 &\") }' 2>/dev/null",
               {{"pids", {{"limit", most}}}});
  ASSERT_EQ(bomb.failure(), "");
  ASSERT_TRUE(soon([&] { return bomb.stats().pids >= most / 2; })) << "it is no bomb";
  Running neighbour("sleep 1000", {{"pids", {{"limit", most}}}});
  ASSERT_EQ(neighbour.failure(), "");
  EXPECT_EQ(neighbour.exec("for i in $(seq 20); do sleep 1000 & done; echo forked").out, "forked\n");
  EXPECT_GE(neighbour.stats().pids, 20u);
  for (int i = 0; i < 100; ++i) ASSERT_LE(bomb.stats().pids, static_cast<u64>(most));
  EXPECT_THAT(bomb.file("pids", "pids.events"), HasSubstr("max "));
  ASSERT_EQ(bomb.bundle().oci({"delete", "-f", "c"}).code, 0) << "a bomb is removed";
  EXPECT_TRUE(bomb.bundle().cgroups().empty());
}

TEST(OciLimits, AMemoryHogEndsInItsOwnMemory) {
  NEEDS_CONTROLLER("memory");
  constexpr i64 most = 48 << 20;
  const Json limit = {{"memory", {{"limit", most}, {"swap", most}}}};
  Running hog("while true; do tail /dev/zero; done", limit);
  ASSERT_EQ(hog.failure(), "");
  Running neighbour("sleep 1000", limit);
  ASSERT_EQ(neighbour.failure(), "");
  ASSERT_TRUE(soon([&] { return hog.stats().oom_kills >= 2; })) << "it is no hog";
  EXPECT_EQ(neighbour.exec("dd if=/dev/zero of=/dev/null bs=24M count=4 2>/dev/null && echo had it").out, "had it\n");
  EXPECT_EQ(neighbour.stats().oom_kills, 0u);
  const auto stats = hog.stats();
  EXPECT_LE(stats.memory_peak, static_cast<u64>(most));
  EXPECT_GE(stats.memory_peak, static_cast<u64>(most) / 2);
  EXPECT_EQ(hog.bundle().state("c")["status"], "running") << "the kernel ends the hog and not its shell";
}

TEST(OciLimits, CpuIsSharedByShares) {
  NEEDS_CONTROLLER("cpu");
  if (!has("cpuset")) GTEST_SKIP() << "no cpuset: they would not meet on one CPU";
  const auto on_one_cpu = [](int shares) { return Json{{"cpu", {{"shares", shares}, {"cpus", "0"}}}}; };
  const std::string spin = "while true; do :; done & while true; do :; done";
  Running small(spin, on_one_cpu(1024)), large(spin, on_one_cpu(3072));
  ASSERT_EQ(small.failure() + large.failure(), "");
  const u64 small_before = small.stats().cpu_ns, large_before = large.stats().cpu_ns;
  // Two seconds of CPU for both together are hundreds of the scheduler's turns.
  ASSERT_TRUE(
      soon([&] { return small.stats().cpu_ns - small_before + large.stats().cpu_ns - large_before > 2'000'000'000; }));
  const double ratio = static_cast<double>(large.stats().cpu_ns - large_before) /
                       static_cast<double>(small.stats().cpu_ns - small_before + 1);
  EXPECT_GT(ratio, 1.8) << "asked for: 3";
  EXPECT_LT(ratio, 5.0) << "asked for: 3";
}

TEST(OciLimits, AQuotaHolds) {
  NEEDS_CONTROLLER("cpu");
  Running hog("while true; do :; done & while true; do :; done", {{"cpu", {{"quota", 10000}, {"period", 50000}}}});
  ASSERT_EQ(hog.failure(), "");
  ASSERT_TRUE(soon([&] { return hog.stats().throttled_periods >= 20; }));
  const auto stats = hog.stats();
  // 10 of every 50 ms; what a CPU has begun when the quota ends comes on top.
  const double used = static_cast<double>(stats.cpu_ns) / static_cast<double>(stats.periods);
  EXPECT_LT(used, 2.0 * 10'000'000);
  ASSERT_EQ(hog.bundle().oci({"update", "--cpu-quota", "-1", "c"}).code, 0);
  EXPECT_NE(hog.file("cpu", "cpu.cfs_quota_us") + hog.file("cpu", "cpu.max"), "10000") << "update changes it";
}

/// "254:0", the disk below a folder; empty where there is none of its own.
std::string disk_below(const std::string& path, i64& major_number, i64& minor_number) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0 || major(info.st_dev) == 0) return {};
  const std::string numbers = std::to_string(major(info.st_dev)) + ":" + std::to_string(minor(info.st_dev));
  std::error_code code;
  if (!fs::exists("/sys/dev/block/" + numbers, code) || fs::exists("/sys/dev/block/" + numbers + "/partition", code))
    return {};
  major_number = static_cast<i64>(major(info.st_dev));
  minor_number = static_cast<i64>(minor(info.st_dev));
  return numbers;
}

TEST(OciLimits, DiskBandwidthIsShared) {
  NEEDS_CONTROLLER("blkio");
  i64 major_number = 0, minor_number = 0;
  Bundle scratch;
  if (disk_below(scratch.path, major_number, minor_number).empty())
    GTEST_SKIP() << "the temporary folder is not on a whole disk";
  const auto limited = [&](i64 rate) {
    return Json{{"blockIO",
                 {{"throttleWriteBpsDevice", {{{"major", major_number}, {"minor", minor_number}, {"rate", rate}}}}}}};
  };
  const auto folder = [&](const std::string& name) {
    fs::create_directories(scratch.path + "/" + name);
    return Json::array({{{"destination", "/data"},
                         {"type", "bind"},
                         {"source", scratch.path + "/" + name},
                         {"options", {"bind", "rw"}}}});
  };
  const std::string write =
      "while true; do dd if=/dev/zero of=/data/f bs=64k count=64 oflag=direct conv=notrunc 2>/data/err || exit; done";
  Running small(write, limited(1 << 20), folder("small")), large(write, limited(4 << 20), folder("large"));
  ASSERT_EQ(small.failure() + large.failure(), "");
  const auto written = [](const Running& one) {
    u64 sum = 0;
    for (const auto& disk : one.stats().disks) sum += disk.write_bytes;
    return sum;
  };
  if (!soon([&] { return written(small) > 0 && written(large) > 0; }))
    GTEST_SKIP() << "no direct writes on this file system";
  const u64 small_before = written(small), large_before = written(large);
  ASSERT_TRUE(soon([&] { return written(large) - large_before >= (8u << 20); }));
  const double ratio =
      static_cast<double>(written(large) - large_before) / static_cast<double>(written(small) - small_before + 1);
  EXPECT_GT(ratio, 2.0) << "asked for: 4";
  EXPECT_LT(ratio, 8.0) << "asked for: 4";
}

TEST(OciLimits, DevicesAreThoseOfTheRules) {
  NEEDS_CONTAINERS();
  Json rules = Json::array({{{"allow", false}, {"access", "rwm"}},
                            {{"allow", true}, {"type", "c"}, {"major", 1}, {"minor", 11}, {"access", "r"}}});
  Json capabilities = {"CAP_MKNOD", "CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_SYSLOG", "CAP_SYS_RAWIO"};
  Bundle b;
  for (const char* set : {"bounding", "effective", "permitted"})
    b.config["process"]["capabilities"][set] = capabilities;
  b.config["root"]["readonly"] = false;
  b.config["linux"]["resources"]["devices"] = rules;
  const Outcome tried = b.run(
      "mknod /dev/log c 1 11 && mknod /dev/m c 1 1 && echo made; head -c 1 /dev/log >/dev/null 2>&1 && echo read; echo "
      "x 2>/dev/null >/dev/log || echo no write;"
      "head -c 1 /dev/m >/dev/null 2>&1 || echo no memory");
  EXPECT_EQ(tried.out, "made\nread\nno write\nno memory\n") << tried.err;
}

TEST(OciLimits, PauseStopsAllOfIt) {
  NEEDS_CONTAINERS();
  Running one("while true; do :; done & while true; do :; done", Json::object());
  ASSERT_EQ(one.failure(), "");
  ASSERT_TRUE(soon([&] { return one.stats().cpu_ns > 50'000'000; }));
  ASSERT_EQ(one.bundle().oci({"pause", "c"}).code, 0);
  const u64 before = one.stats().cpu_ns;
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_EQ(one.stats().cpu_ns, before);
  ASSERT_EQ(one.bundle().oci({"resume", "c"}).code, 0);
  EXPECT_TRUE(soon([&] { return one.stats().cpu_ns > before; }));
}

TEST(OciLimits, UpdateBringsALimitThatWasNotAskedForAtFirst) {
  NEEDS_CONTROLLER("cpuset");
  Running one("sleep 1000", Json::object());
  ASSERT_EQ(one.failure(), "");
  const Outcome updated = one.bundle().oci({"update", "--cpuset-cpus", "0", "c"});
  ASSERT_EQ(updated.code, 0) << updated.err;
  EXPECT_THAT(one.exec("grep Cpus_allowed_list /proc/self/status").out, HasSubstr("\t0\n"));
  ASSERT_EQ(one.bundle().oci({"delete", "-f", "c"}).code, 0);
  EXPECT_TRUE(one.bundle().cgroups().empty());
}

}  // namespace
}  // namespace nagaya::oci_test
