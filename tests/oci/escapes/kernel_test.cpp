// Ways out through what the kernel offers: files by handle, device files, another procfs, keys, parameters, cgroups, capabilities.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/keyctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "oci/bundle.hpp"

namespace nagaya::oci_test {
namespace {
using ::testing::HasSubstr;
using ::testing::Not;
namespace fs = std::filesystem;

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The attacker's words, run as the container's process.
Outcome attack(Bundle& b, const Words& words) {
  fs::copy_file(OCI_ATTACKER, b.rootfs + "/bin/attacker", fs::copy_options::overwrite_existing);
  Words all{"/bin/attacker"};
  all.insert(all.end(), words.begin(), words.end());
  b.process(all);
  b.config["root"]["readonly"] = false;
  b.write_config();
  return b.oci({"run", "-b", b.path, "c"});
}

void add_capability(Bundle& b, const char* name) {
  for (const char* set : {"bounding", "effective", "permitted"}) b.config["process"]["capabilities"][set].push_back(name);
}

TEST(OciEscapeKernel, FilesByHandle) {
  NEEDS_CONTAINERS();
  Bundle b;
  const Outcome outcome = attack(b, {"handle"});
  EXPECT_THAT(outcome.out, HasSubstr("stopped: open_by_handle_at: Operation not permitted"));
}

TEST(OciEscapeKernel, KeysOfTheCallersSession) {
  NEEDS_CONTAINERS();
  if (::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "oci-test") < 0) GTEST_SKIP() << "this kernel has no keys";
  ASSERT_GT(::syscall(SYS_add_key, "user", "oci-test-secret", "x", 1, KEY_SPEC_SESSION_KEYRING), 0);
  Bundle b;
  EXPECT_THAT(attack(b, {"key", "oci-test-secret"}).out, HasSubstr("stopped: keyctl"));
  b.script("sleep 1000");
  b.write_config();
  ASSERT_EQ(b.oci({"run", "-d", "-b", b.path, "d"}).code, 0);
  EXPECT_THAT(b.oci({"exec", "d", "/bin/attacker", "key", "oci-test-secret"}).out, HasSubstr("stopped: keyctl"));
}

TEST(OciEscapeKernel, ChrootInsideChroot) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.write("marker", "");
  add_capability(b, "CAP_SYS_CHROOT");
  EXPECT_THAT(attack(b, {"chroot", b.path + "/marker"}).out, HasSubstr("stopped: the marker is not there"));
}

// The same without pivot_root, whose namespace still has the host's root.
TEST(OciEscapeKernel, ChrootInsideAMovedRoot) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.write("marker", "");
  add_capability(b, "CAP_SYS_CHROOT");
  attack(b, {"chroot", b.path + "/marker"});
  const Outcome outcome = b.oci({"run", "--no-pivot", "-b", b.path, "c"});
  EXPECT_THAT(outcome.out, HasSubstr("stopped: the marker is not there")) << outcome.err;
}

TEST(OciEscapeKernel, TheHostsDisk) {
  NEEDS_CONTAINERS();
  struct stat root {};
  ASSERT_EQ(::stat("/", &root), 0);
  const Words words = {"disk", std::to_string(major(root.st_dev)), std::to_string(minor(root.st_dev))};
  Bundle b;
  EXPECT_THAT(attack(b, words).out, HasSubstr("stopped: mknod: Operation not permitted"));
  // Also when nodes can be made: rules of the cgroup, where the host has them, forbid their use.
  add_capability(b, "CAP_MKNOD");
  if (fs::exists("/sys/fs/cgroup/devices")) {
    EXPECT_THAT(attack(b, words).out, HasSubstr("stopped:"));
  }
  b.with_user_namespace();
  EXPECT_THAT(attack(b, words).out, HasSubstr("stopped: mknod"));
}

TEST(OciEscapeKernel, AnotherProcfsWithoutTheMasks) {
  NEEDS_CONTAINERS();
  Bundle b;
  const Outcome outcome = attack(b, {"proc"});
  EXPECT_THAT(outcome.out, HasSubstr("stopped:")) << outcome.err;
  b.with_user_namespace();
  EXPECT_THAT(attack(b, {"proc"}).out, HasSubstr("stopped:"));
}

TEST(OciEscapeKernel, FilesOfProcAndSysThatActOnTheHost) {
  NEEDS_CONTAINERS();
  Bundle b;
  const Outcome outcome = b.run(
      "for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sysrq-trigger /proc/sys/vm/panic_on_oom /proc/irq/default_smp_affinity "
      "/sys/kernel/uevent_helper /sys/kernel/mm/transparent_hugepage/enabled /proc/sys/fs/binfmt_misc/register; do ( : >>$f ) 2>/dev/null && echo written $f; done; "
      "cat /proc/kcore /proc/keys /proc/timer_list /proc/latency_stats 2>/dev/null | head -c 1; ls /sys/firmware /proc/acpi /proc/scsi 2>/dev/null | grep -v :; true");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, Not(HasSubstr("written")));
}

// CVE-2022-0811: one parameter's value that is to become another parameter.
TEST(OciEscapeKernel, ParametersOfTheHost) {
  NEEDS_CONTAINERS();
  const std::string before = text_of("/proc/sys/kernel/core_pattern");
  const std::vector<std::pair<const char*, const char*>> tries = {
      {"kernel.core_pattern", "|/bin/x"},
      {"kernel.shm_rmid_forced", "1+kernel.core_pattern=|/bin/x"},
      {"kernel/../kernel/core_pattern", "|/bin/x"},
      {"net.../kernel.core_pattern", "|/bin/x"},
      {"net/ipv4/../../kernel/core_pattern", "|/bin/x"},
      {"fs.mqueue.../../kernel.core_pattern", "|/bin/x"},
  };
  for (const auto& [key, value] : tries) {
    Bundle b;
    b.config["linux"]["sysctl"][key] = value;
    EXPECT_NE(b.run("true").code, 0) << key;
    EXPECT_EQ(text_of("/proc/sys/kernel/core_pattern"), before) << key;
  }
  for (const char* type : {"ipc", "network", "uts"}) {
    Bundle b;
    b.without_namespace(type);
    if (std::string(type) == "uts") b.config.erase("hostname");
    b.config["linux"]["sysctl"][std::string(type) == "ipc" ? "kernel.msgmax" : std::string(type) == "uts" ? "kernel.domainname" : "net.ipv4.ip_forward"] = "0";
    const Outcome outcome = b.run("true");
    EXPECT_NE(outcome.code, 0);
    EXPECT_THAT(outcome.err, HasSubstr("would change the host"));
  }
}

// CVE-2022-29162.
TEST(OciEscapeKernel, NothingIsInheritableAndExecHasNoMore) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.script("sleep 1000");
  b.write_config();
  ASSERT_EQ(b.oci({"run", "-d", "-b", b.path, "c"}).code, 0);
  const std::string first = b.oci({"exec", "c", "grep", "Cap", "/proc/1/status"}).out;
  EXPECT_THAT(first, HasSubstr("CapInh:\t0000000000000000"));
  EXPECT_EQ(b.oci({"exec", "c", "grep", "Cap", "/proc/self/status"}).out, first);
}

// CVE-2023-25809: the host's cgroups below a /sys that had to be bound.
TEST(OciEscapeKernel, CgroupsOfTheHostInAUserNamespace) {
  NEEDS_CONTAINERS();
  for (const bool own_view : {true, false}) {
    Bundle b;
    b.with_user_namespace();
    b.without_namespace("network");
    if (!own_view) b.without_namespace("cgroup");
    const Outcome outcome = b.run("find /sys/fs /sys/kernel -maxdepth 3 -type f 2>/dev/null | while read f; do ( : >>$f ) 2>/dev/null && echo written $f; done; mkdir /sys/fs/cgroup/x 2>/dev/null && echo made; echo done");
    EXPECT_THAT(outcome.out, Not(HasSubstr("written"))) << outcome.err;
    EXPECT_THAT(outcome.out, Not(HasSubstr("made")));
    EXPECT_THAT(outcome.out, HasSubstr("done")) << outcome.err;
  }
}

// CVE-2022-0492: a program named in a cgroup that the kernel runs on the host.
TEST(OciEscapeKernel, ReleaseAgents) {
  NEEDS_CONTAINERS();
  Bundle b;
  const Outcome outcome = b.run("for f in /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/*/notify_on_release; do ( echo 1 >>$f ) 2>/dev/null && echo written; done; mount -t cgroup -o memory cgroup /tmp 2>/dev/null && echo mounted; echo done");
  EXPECT_EQ(outcome.out, "done\n") << outcome.err;
}

TEST(OciEscapeKernel, UsersThatLookLikeNumbers) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.write("rootfs/etc/passwd", "1000:x:0:0:root:/root:/bin/sh\n0x0:x:0:0::/:/bin/sh\nroot:x:0:0:root:/root:/bin/sh\n");
  b.script("sleep 1000");
  b.write_config();
  ASSERT_EQ(b.oci({"run", "-d", "-b", b.path, "c"}).code, 0);
  EXPECT_EQ(b.oci({"exec", "-u", "1000", "c", "id", "-u"}).out, "1000\n");
  for (const char* bad : {"0x0", "-1", "4294967296", "1000:", "1000:-0", " 0", "0 ", "+0", "root", "", "1e3"}) {
    EXPECT_NE(b.oci({"exec", "-u", bad, "c", "id", "-u"}).code, 0) << bad;
  }
}

}  // namespace
}  // namespace nagaya::oci_test
