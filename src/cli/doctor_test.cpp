#include "cli/doctor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <set>

namespace nagaya::cli {
namespace {

using ::testing::HasSubstr;

// A host that exists only in a folder.
class PaperHost : public HostView {
 public:
  explicit PaperHost(const std::filesystem::path& root) : HostView(root.string()), root_(root) {}
  void file(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories((root_ / path.substr(1)).parent_path());
    std::ofstream(root_ / path.substr(1)) << text << "\n";
  }
  int user_namespace_error() const override { return namespace_error; }
  int overlay_error() const override { return overlay_refused; }
  int io_uring_error() const override { return ring_error; }
  int userfaultfd_error() const override { return 0; }
  bool fsgsbase() const override { return true; }
  unsigned cpus() const override { return 2; }
  bool is_root() const override { return root; }
  bool has_program(const std::string& name) const override { return !lacks.contains(name); }
  std::string nftables_problem() const override { return nftables; }
  CriuView criu() const override { return saver; }
  std::string engine_probe() const override { return probe; }

  int namespace_error = 0, overlay_refused = 0, ring_error = 0;
  bool root = true;
  std::set<std::string> lacks;
  std::string nftables;
  CriuView saver{"/usr/sbin/criu", "4.1.1", "", {}};
  std::string probe = R"({"kvm":{"verdict":"fast","line":"fine"},"auto":{"engine":"kvm","reason":"it is fast"},"jail":{"lacks":[]}})";

 private:
  std::filesystem::path root_;
};

constexpr const char* v3_flags =
    "flags\t\t: fpu cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3 avx avx2 bmi1 bmi2 f16c fma abm movbe xsave constant_tsc";

class Doctor : public ::testing::Test {
 protected:
  Doctor() : host_(folder()) {
    host_.file("/proc/cpuinfo", std::string("processor\t: 0\n") + v3_flags);
    host_.file("/proc/meminfo", "MemTotal:       8000000 kB\nMemAvailable:   4000000 kB");
    host_.file("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "always within_size [advise] never deny force");
    host_.file("/sys/kernel/mm/ksm/run", "1");
    host_.file("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids");
    host_.file("/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw");
    host_.file("/proc/self/cgroup", "0::/");
    host_.file("/dev/fuse", "");
    host_.file("/proc/sys/kernel/seccomp/actions_avail", "kill_process trap errno");
    host_.file("/dev/net/tun", "");
    for (const char* tool : {"/usr/bin/mmdebstrap", "/sbin/mke2fs", "/usr/bin/skopeo", "/usr/bin/ssh-keygen", "/usr/bin/newuidmap"}) host_.file(tool, "");
    host_.file("/etc/subuid", "user:100000:65536");
  }
  ~Doctor() override { std::filesystem::remove_all(folder()); }
  static std::filesystem::path folder() {
    return std::filesystem::path(::testing::TempDir()) /
           (std::string("doctor-") + ::testing::UnitTest::GetInstance()->current_test_info()->name());
  }
  Finding finding(const std::string& check) const {
    for (const Finding& finding : examine_host(host_))
      if (finding.check == check) return finding;
    ADD_FAILURE() << "no check " << check;
    return {};
  }
  PaperHost host_;
};

TEST_F(Doctor, WhatStandsInForOverlayfsIsNamed) {
  EXPECT_EQ(finding("container-root").detail, "overlayfs");
  host_.overlay_refused = EINVAL;
  EXPECT_EQ(finding("container-root").health, Health::limited);
  EXPECT_THAT(finding("container-root").detail, HasSubstr("Invalid argument; fuse-overlayfs is used"));
  host_.lacks = {"fuse-overlayfs"};
  EXPECT_THAT(finding("container-root").detail, HasSubstr("a copy of its image"));
  EXPECT_THAT(finding("container-root").mend, HasSubstr("apt-get install fuse-overlayfs"));
  host_.lacks.clear();
  std::filesystem::remove(folder() / "dev/fuse");
  EXPECT_THAT(finding("container-root").detail, HasSubstr("a copy of its image")) << "there is no /dev/fuse";
  host_.overlay_refused = ENODEV;
  EXPECT_THAT(finding("container-root").mend, HasSubstr("modprobe overlay"));
}

TEST_F(Doctor, LayersThatAJailLacksAreNamed) {
  EXPECT_EQ(finding("jail").health, Health::ok);
  host_.probe = R"({"jail":{"lacks":["no network namespace: Operation not permitted","no user namespace: No space left on device"]}})";
  EXPECT_EQ(finding("jail").health, Health::limited);
  EXPECT_THAT(finding("jail").detail, HasSubstr("no network namespace: Operation not permitted; no user namespace"));
  EXPECT_THAT(finding("jail").mend, HasSubstr("none from here"));
  host_.namespace_error = EPERM;
  EXPECT_THAT(finding("jail").mend, HasSubstr("user namespaces"));
}

TEST_F(Doctor, NothingToMendOnAGoodHost) {
  for (const Finding& finding : examine_host(host_)) {
    EXPECT_EQ(finding.health, Health::ok) << finding.check << ": " << finding.detail;
    EXPECT_EQ(finding.mend, "") << finding.check;
  }
}

TEST_F(Doctor, TellsWhichCriuAndWhatItLacks) {
  host_.saver = {"/b/criu", "4.1.1", "", {"Dirty tracking is OFF. Memory snapshot will not work."}};
  EXPECT_EQ(finding("criu").health, Health::limited);
  EXPECT_THAT(finding("criu").detail, HasSubstr("/b/criu 4.1.1: Dirty tracking is OFF"));
  host_.saver = {"", "", "/usr/sbin/criu is 3.17.1", {}};
  EXPECT_EQ(finding("criu").health, Health::missing);
  EXPECT_THAT(finding("criu").detail, HasSubstr("3.17.1"));
}

TEST_F(Doctor, EveryLackHasAMend) {
  PaperHost bare(folder() / "nothing");
  bare.namespace_error = EPERM;
  bare.ring_error = ENOSYS;
  bare.probe = "";
  bare.saver = {"", "", "none is installed", {}};
  bare.lacks = {"nagaya-net", "nft", "dnsmasq"};
  for (const Finding& finding : examine_host(bare)) {
    if (finding.health == Health::ok) continue;
    EXPECT_NE(finding.detail, "") << finding.check;
    EXPECT_NE(finding.mend, "") << finding.check;
  }
}

TEST_F(Doctor, TellsWhichControllersAreWhere) {
  host_.file("/proc/self/mountinfo",
             "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
             "34 31 0:31 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n35 31 0:32 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n"
             "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw");
  host_.file("/proc/self/cgroup", "4:blkio:/\n3:pids:/\n2:memory:/\n1:cpu:/\n0::/");
  host_.file("/proc/cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t0\t1\t1\ncpu\t1\t4\t1");
  host_.file("/sys/fs/cgroup/unified/cgroup.controllers", "hugetlb");
  host_.file("/sys/fs/cgroup/memory/tasks", "");
  const Finding lacks = finding("cgroups");
  EXPECT_EQ(lacks.health, Health::limited);
  EXPECT_EQ(lacks.detail, "version 1: blkio pids memory cpu; version 2: hugetlb; missing: cpuset (--cpuset-cpus)");
  EXPECT_THAT(lacks.mend, HasSubstr("mount -t cgroup -o cpuset cpuset /sys/fs/cgroup/cpuset"));
  EXPECT_EQ(finding("cgroup-rights").health, Health::ok);
  host_.file("/proc/cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t0\t1\t0");
  EXPECT_THAT(finding("cgroups").mend, HasSubstr("cgroup_enable=cpuset"));
  host_.file("/proc/self/mountinfo", "");
  EXPECT_EQ(finding("cgroups").health, Health::missing);
}

TEST_F(Doctor, ContainersSeeTheirLimitsWhereFuseIs) {
  host_.lacks = {"nagaya-procview"};
  EXPECT_EQ(finding("container-views").health, Health::missing);
  std::filesystem::remove(folder() / "dev/fuse");
  EXPECT_EQ(finding("container-views").health, Health::limited);
  EXPECT_THAT(finding("container-views").mend, HasSubstr("modprobe fuse"));
}

TEST_F(Doctor, AProcessorWithoutAvx2CannotRunTheSoftwareEngine) {
  host_.file("/proc/cpuinfo", "flags\t: fpu cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3 avx bmi1 bmi2 f16c fma abm movbe xsave");
  Finding soft = finding("engine-soft");
  EXPECT_EQ(soft.health, Health::missing);
  EXPECT_TRUE(soft.required);
  EXPECT_THAT(soft.detail, HasSubstr("avx2"));
}

TEST_F(Doctor, SlowKvmIsNotSoldAsFast) {
  host_.probe = R"({"kvm":{"verdict":"emulates_kernel","line":"KVM emulates guest kernel code"}})";
  Finding kvm = finding("engine-kvm");
  EXPECT_EQ(kvm.health, Health::limited);
  EXPECT_THAT(kvm.detail, HasSubstr("emulates"));
}

TEST_F(Doctor, KsmSwitchedOff) {
  host_.file("/sys/kernel/mm/ksm/run", "0");
  host_.root = false;
  EXPECT_EQ(finding("ksm").mend, "sudo sh -c 'echo 1 >/sys/kernel/mm/ksm/run'");
  host_.root = true;
  EXPECT_EQ(finding("ksm").mend, "sh -c 'echo 1 >/sys/kernel/mm/ksm/run'");
}

TEST_F(Doctor, NamesTheSettingThatForbidsUserNamespaces) {
  host_.namespace_error = EPERM;
  host_.file("/proc/sys/kernel/unprivileged_userns_clone", "0");
  EXPECT_THAT(finding("user-namespaces").mend, HasSubstr("unprivileged_userns_clone=1"));
}

TEST_F(Doctor, BridgeNetworksNeedProgramsKernelAndRoot) {
  host_.root = false;
  EXPECT_EQ(finding("network-bridge").health, Health::limited);
  EXPECT_EQ(finding("network-user").health, Health::ok);
  host_.nftables = "Operation not supported";
  EXPECT_EQ(finding("network-bridge").mend, "sudo modprobe nf_tables");
  host_.lacks = {"dnsmasq"};
  EXPECT_EQ(finding("network-bridge").mend, "sudo apt install dnsmasq-base");
}

TEST_F(Doctor, AnAnswerThatIsNoJsonIsNoCrash) {
  for (const char* text : {"", "{", "[]", "{\"kvm\":3}", "{\"kvm\":{}}"}) {
    host_.probe = text;
    EXPECT_NE(finding("engine-kvm").health, Health::ok) << text;
  }
}

}  // namespace
}  // namespace nagaya::cli
