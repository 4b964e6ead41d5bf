// The OCI runtime on a host that has cgroup v2 alone: a guest whose Debian kernel gives it every controller. The bundle
// and the runtime are shared into it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "disk_util.hpp"

namespace nagaya::system_test {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;
using Json = nlohmann::json;

/// A folder with the runtime, busybox's root and a configuration that a test changes.
class SharedBundle {
 public:
  explicit SharedBundle(const std::string& name) : folder_(scratch(name)) {
    fs::remove_all(folder_);
    for (const char* part : {"bin", "proc", "sys", "dev", "tmp", "m"})
      fs::create_directories(folder_ + "/rootfs/" + part);
    const char* runtime = std::getenv("NAGAYA_OCI");
    fs::copy_file(runtime != nullptr ? runtime : "nagaya-oci", folder_ + "/oci");
    fs::copy_file(debian("busybox-amd64"), folder_ + "/rootfs/bin/busybox");
    ::chmod((folder_ + "/rootfs/bin/busybox").c_str(), 0755);
    for (const char* program : {"sh", "cat", "sleep", "tail", "mknod", "head", "echo", "seq", "grep", "dd"})
      fs::create_symlink("busybox", folder_ + "/rootfs/bin/" + program);
    const Outcome made = run_tool({folder_ + "/oci", "spec", "-b", folder_});
    EXPECT_EQ(made.code, 0) << made.output << made.errors;
    std::ifstream in(folder_ + "/config.json");
    config = Json::parse(in, nullptr, false);
    config["process"]["terminal"] = false;
    config["process"]["env"] = {"PATH=/bin"};
    config["process"]["args"] = {"/bin/sh", "-c", "sleep 1000"};
    config["linux"]["cgroupsPath"] = "/nagaya/c";
  }
  Json config;

  void write(const std::string& name, const std::string& text) const {
    fs::create_directories(fs::path(folder_ + "/" + name).parent_path());
    std::ofstream(folder_ + "/" + name) << text;
  }
  /// Runs `commands` in the guest, with $oci as the runtime and $g as the container's group; what they said.
  Outcome run_in_guest(const std::string& commands) {
    write("config.json", config.dump(1));
    const std::string begin =
        "modprobe virtiofs; mkdir -p /m /sys/fs/cgroup /run; mount -t virtiofs home /m; mount -t tmpfs run /run; mount "
        "-t cgroup2 cgroup2 /sys/fs/cgroup; "
        "oci='/m/oci --root /run/oci'; g=/sys/fs/cgroup/nagaya/c; start() { $oci run --no-pivot -d -b /m c </dev/null "
        ">/run/log 2>&1 || cat /run/log; }; ";
    return run(disk_run(begin + commands, {"--share", "tag=home,path=" + folder_}), 280);
  }

 private:
  std::string folder_;
};

TEST(ContainerV2, LimitsAreWrittenAndChanged) {
  SharedBundle b("v2-limits");
  b.config["linux"]["resources"]["memory"] = {{"limit", 40 << 20}, {"swap", 60 << 20}, {"reservation", 8 << 20}};
  b.config["linux"]["resources"]["cpu"] = {{"shares", 1024}, {"quota", 20000}, {"period", 100000}, {"cpus", "0"}};
  b.config["linux"]["resources"]["pids"] = {{"limit", 23}};
  b.config["linux"]["resources"]["unified"] = {{"memory.high", "33554432"}};
  const Outcome o = b.run_in_guest(
      "start; for f in memory.max memory.low memory.high cpu.max cpu.weight cpuset.cpus pids.max; do echo $f=$(cat "
      "$g/$f); done; "
      "$oci update --memory 80M --memory-swap 90M --cpu-quota 50000 --pids-limit 50 c; echo now $(cat $g/memory.max "
      "$g/cpu.max $g/pids.max); "
      "echo group $(cat /proc/$(cat $g/cgroup.procs | head -n 1)/cgroup); $oci delete -f c; ls -d $g 2>&1; $oci list "
      "-q; echo done");
  EXPECT_EQ(o.code, 0) << o.errors;
  for (const char* line :
       {"memory.max=41943040", "memory.low=8388608", "memory.high=33554432", "cpu.max=20000 100000", "cpu.weight=100",
        "cpuset.cpus=0", "pids.max=23", "now 83886080 50000 100000 50", "group 0::/nagaya/c", "No such file", "done"}) {
    EXPECT_THAT(o.output, HasSubstr(line));
  }
}

TEST(ContainerV2, HogsStayInside) {
  SharedBundle b("v2-hogs");
  b.config["linux"]["resources"]["memory"] = {{"limit", 24 << 20}, {"swap", 24 << 20}};
  b.config["linux"]["resources"]["pids"] = {{"limit", 15}};
  b.config["linux"]["resources"]["cpu"] = {{"quota", 20000}, {"period", 100000}};
  const Outcome o = b.run_in_guest(
      "start; $oci exec c /bin/sh -c 'tail /dev/zero' >/dev/null 2>&1; echo hog $?; grep oom_kill $g/memory.events; "
      "$oci state c | grep status; "
      "$oci exec -d c /bin/sh -c 'while :; do :; done'; sleep 3; grep nr_throttled $g/cpu.stat; "
      "$oci exec c /bin/sh -c 'for i in $(seq 40); do sleep 1000 & done' >/dev/null 2>&1; echo most $(cat "
      "$g/pids.current) $(cat $g/pids.max); cat $g/pids.events; $oci kill --all c "
      "KILL; sleep 1; echo left $(cat $g/cgroup.procs | grep -c .); "
      "$oci delete -f c; ls -d $g 2>&1; echo done");
  EXPECT_EQ(o.code, 0) << o.errors;
  EXPECT_THAT(o.output, HasSubstr("hog 137"));
  EXPECT_THAT(o.output, ::testing::Not(HasSubstr("oom_kill 0")));
  EXPECT_THAT(o.output, HasSubstr("running"));
  // The shell ends at the first fork that fails; those it began are left.
  EXPECT_THAT(o.output, HasSubstr("most 14 15"));
  EXPECT_THAT(o.output, ::testing::Not(HasSubstr("max 0")));
  EXPECT_THAT(o.output, ::testing::Not(HasSubstr("nr_throttled 0")));
  for (const char* line : {"left 0", "No such file", "done"}) EXPECT_THAT(o.output, HasSubstr(line));
}

TEST(ContainerV2, DevicesByProgramAndFreezing) {
  SharedBundle b("v2-devices");
  b.config["root"]["readonly"] = false;
  b.config["process"]["capabilities"]["bounding"] = b.config["process"]["capabilities"]["effective"] =
      b.config["process"]["capabilities"]["permitted"] = {"CAP_MKNOD", "CAP_SYS_ADMIN", "CAP_SYS_RAWIO",
                                                          "CAP_DAC_OVERRIDE", "CAP_KILL"};
  b.config["linux"]["resources"]["devices"] =
      Json::array({{{"allow", false}, {"access", "rwm"}},
                   {{"allow", true}, {"type", "c"}, {"major", 1}, {"minor", 8}, {"access", "r"}}});
  const Outcome o = b.run_in_guest(
      "start; $oci exec c /bin/sh -c 'cd /dev; echo x >null && echo null; mknod m c 1 1 && echo made; head -c 1 m "
      ">/dev/null 2>&1 || echo no memory; "
      "mknod tty0 c 4 0; echo x 2>/dev/null >tty0 || echo no screen; head -c 3 zero | busybox wc -c'; "
      "$oci pause c; grep frozen $g/cgroup.events; $oci state c | grep status; $oci resume c; grep frozen "
      "$g/cgroup.events; $oci delete -f c; ls -d $g 2>&1; echo done");
  EXPECT_EQ(o.code, 0) << o.errors;
  for (const char* line :
       {"null", "made", "no memory", "no screen", "frozen 1", "paused", "frozen 0", "No such file", "done"})
    EXPECT_THAT(o.output, HasSubstr(line));
}

TEST(ContainerV2, AContainerHasContainers) {
  // The outer container's group looks like a root to it and has processes of its own, so that it cannot hand
  // controllers down at first.
  SharedBundle b("v2-nested");
  Json inner = b.config;
  inner["root"] = {{"path", "../rootfs"}, {"readonly", true}};
  inner["linux"]["resources"]["pids"] = {{"limit", 9}};
  inner["linux"]["cgroupsPath"] = "/inner";
  b.write("inner/config.json", inner.dump());
  b.write("nest.sh",
          "/m/oci --root /tmp/oci run --no-pivot -d -b /m/inner i </dev/null >/tmp/log 2>&1 || cat /tmp/log\n"
          "echo inner $(cat /sys/fs/cgroup/inner/pids.max) $(cat /proc/self/cgroup)\n/m/oci --root /tmp/oci delete -f "
          "i\n[ -e /sys/fs/cgroup/inner ] || echo removed\n");
  const Json all = {"CAP_SYS_ADMIN",  "CAP_KILL",         "CAP_SETUID",           "CAP_SETGID",       "CAP_SETPCAP",
                    "CAP_MKNOD",      "CAP_CHOWN",        "CAP_FOWNER",           "CAP_DAC_OVERRIDE", "CAP_NET_ADMIN",
                    "CAP_SYS_CHROOT", "CAP_SETFCAP",      "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE",  "CAP_BPF",
                    "CAP_PERFMON",    "CAP_SYS_RESOURCE", "CAP_SYS_PTRACE"};
  for (const char* set : {"bounding", "effective", "permitted"}) b.config["process"]["capabilities"][set] = all;
  b.config["process"]["noNewPrivileges"] = false;
  b.config["linux"]["maskedPaths"] = b.config["linux"]["readonlyPaths"] = Json::array();
  for (auto& mount : b.config["mounts"]) {
    if (mount["type"] == "cgroup") mount["options"] = {"nosuid", "noexec", "nodev", "rw"};
  }
  b.config["mounts"].push_back({{"destination", "/m"}, {"type", "bind"}, {"source", "/m"}, {"options", {"rbind"}}});
  b.config["mounts"].push_back({{"destination", "/tmp"}, {"type", "tmpfs"}, {"source", "tmpfs"}});
  const Outcome o = b.run_in_guest("start; $oci exec c /bin/sh /m/nest.sh; $oci delete -f c; ls -d $g 2>&1; echo done");
  EXPECT_EQ(o.code, 0) << o.errors;
  for (const char* line : {"inner 9 0::/init", "removed", "No such file", "done"})
    EXPECT_THAT(o.output, HasSubstr(line));
}

}  // namespace
}  // namespace nagaya::system_test
