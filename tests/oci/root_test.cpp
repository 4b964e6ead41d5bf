// The container's file tree as its process sees it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "oci/bundle.hpp"

namespace nagaya::oci_test {
namespace {
using ::testing::HasSubstr;
using ::testing::Not;
namespace fs = std::filesystem;

Json mount(const std::string& destination, const std::string& type, const std::string& source, const Words& options) {
  return {{"destination", destination}, {"type", type}, {"source", source}, {"options", options}};
}

TEST(OciRoot, ReadOnlyOrNot) {
  NEEDS_CONTAINERS();
  Bundle b;
  EXPECT_THAT(b.run("touch /x").err, HasSubstr("Read-only"));
  b.config["root"]["readonly"] = false;
  EXPECT_EQ(b.run("touch /x").code, 0);
  EXPECT_TRUE(fs::exists(b.rootfs + "/x"));
}

TEST(OciRoot, MountsInOrderWithOptions) {
  NEEDS_CONTAINERS();
  Bundle b;
  fs::create_directories(b.path + "/data/sub");
  b.write("data/file", "content\n");
  b.config["root"]["readonly"] = false;
  auto& mounts = b.config["mounts"];
  mounts.push_back(mount("/data", "bind", b.path + "/data", {"bind", "ro", "nosuid", "nodev"}));
  mounts.push_back(mount("/data/sub", "tmpfs", "tmpfs", {"size=64k", "mode=1770"}));
  mounts.push_back(mount("/file", "bind", "data/file", {"rbind"}));
  const Outcome outcome = b.run(
      "cat /data/file /file; touch /data/x; stat -c %a /data/sub; grep ' /data' /proc/mounts; dd if=/dev/zero "
      "of=/data/sub/big bs=1k count=100");
  EXPECT_THAT(outcome.out, HasSubstr("content\ncontent\n1770\n"));
  EXPECT_THAT(outcome.out, HasSubstr("ro,nosuid,nodev"));
  EXPECT_THAT(outcome.err, HasSubstr("Read-only"));
  EXPECT_THAT(outcome.err, HasSubstr("No space left"));
  mounts.push_back(mount("/bad", "bind", b.path + "/nowhere", {"bind"}));
  EXPECT_NE(b.run("true").code, 0);
  EXPECT_TRUE(b.state("c").is_null());
}

TEST(OciRoot, RecursiveReadOnly) {
  NEEDS_CONTAINERS();
  Bundle b;
  fs::create_directories(b.path + "/data/sub");
  ASSERT_EQ(run_program({"mount", "-t", "tmpfs", "tmpfs", b.path + "/data/sub"}).code, 0);
  b.config["mounts"].push_back(mount("/tmp", "bind", b.path + "/data", {"rbind", "rro"}));
  EXPECT_THAT(b.run("touch /tmp/sub/x").err, HasSubstr("Read-only"));
  EXPECT_EQ(run_program({"umount", b.path + "/data/sub"}).code, 0) << "no mount of the container's holds it";
}

TEST(OciRoot, HiddenAndReadOnlyPaths) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.write("rootfs/etc/secret", "secret");
  fs::create_directories(b.rootfs + "/etc/folder");
  b.write("rootfs/etc/folder/inside", "secret");
  b.config["linux"]["maskedPaths"] = {"/etc/secret", "/etc/folder", "/nowhere"};
  b.config["linux"]["readonlyPaths"] = {"/proc/sys", "/tmp"};
  b.config["root"]["readonly"] = false;
  const Outcome outcome = b.run(
      "cat /etc/secret; ls /etc/folder; touch /tmp/x; echo 1 >/proc/sys/net/ipv4/ip_forward; touch /etc/x && echo "
      "written");
  EXPECT_EQ(outcome.out, "written\n");
  EXPECT_THAT(outcome.err, HasSubstr("/tmp/x: Read-only"));
  EXPECT_THAT(outcome.err, HasSubstr("Read-only file system"));
}

TEST(OciRoot, DevicesAreThere) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.config["linux"]["devices"] = {
      {{"path", "/dev/mine"}, {"type", "c"}, {"major", 1}, {"minor", 5}, {"fileMode", 0640}, {"uid", 3}, {"gid", 4}},
      {{"path", "/dev/pipe"}, {"type", "p"}}};
  const Outcome outcome = b.run(
      "for d in null zero full random urandom tty; do [ -c /dev/$d ] || echo no $d; done; stat -c '%a %u %g %t %T' "
      "/dev/mine; [ -p /dev/pipe ] && echo pipe;"
      "for l in fd stdin ptmx; do readlink /dev/$l; done; ls -d /dev/shm; head -c 3 /dev/zero | wc -c");
  EXPECT_THAT(outcome.out, HasSubstr("640 3 4 1 5\npipe\n/proc/self/fd\n/proc/self/fd/0\npts/ptmx\n")) << outcome.err;
  EXPECT_THAT(outcome.out, Not(HasSubstr("no ")));
}

TEST(OciRoot, DevicesByListOfTheCgroup) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.config["linux"]["resources"]["devices"] = {
      {{"allow", false}, {"access", "rwm"}},
      {{"allow", true}, {"type", "c"}, {"major", 1}, {"minor", 3}, {"access", "rw"}}};
  b.config["linux"]["devices"] = {{{"path", "/dev/memory"}, {"type", "c"}, {"major", 1}, {"minor", 1}}};
  const Json caps = {"CAP_MKNOD", "CAP_DAC_OVERRIDE", "CAP_SYS_RAWIO"};
  for (const char* set : {"bounding", "effective", "permitted"}) b.config["process"]["capabilities"][set] = caps;
  const Outcome outcome = b.run("echo x >/dev/null && echo null; head -c 1 /dev/memory");
  EXPECT_EQ(outcome.out, "null\n");
  EXPECT_THAT(outcome.err, HasSubstr("not permitted"));
}

TEST(OciRoot, PropagationOfTheRoot) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.config["linux"]["rootfsPropagation"] = "shared";
  EXPECT_THAT(
      b.run("grep ' / / ' /proc/self/mountinfo || grep -E '^[0-9]+ [0-9]+ [0-9:]+ [^ ]+ / ' /proc/self/mountinfo").out,
      HasSubstr("shared:"));
  b.config["linux"]["rootfsPropagation"] = "private";
  EXPECT_THAT(b.run("grep -E '^[0-9]+ [0-9]+ [0-9:]+ [^ ]+ / ' /proc/self/mountinfo").out, Not(HasSubstr("shared:")));
}

TEST(OciRoot, NoPivotWorksToo) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.script("ls -d /bin; cat /etc/passwd | head -n 1");
  b.write_config();
  const Outcome outcome = b.oci({"run", "--no-pivot", "-b", b.path, "c"});
  EXPECT_THAT(outcome.out, HasSubstr("/bin\nroot:x:0:0")) << outcome.err;
}

TEST(OciRoot, NoMountOfOursStaysOutside) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.script("sleep 100");
  b.write_config();
  ASSERT_EQ(b.oci({"run", "-d", "-b", b.path, "c"}).code, 0);
  // Mounts of others come and go meanwhile: those that have to do with this bundle count.
  EXPECT_EQ(run_program({"grep", b.path, "/proc/self/mountinfo"}).out, "");
  ASSERT_EQ(b.oci({"delete", "-f", "c"}).code, 0);
  EXPECT_EQ(run_program({"grep", b.path, "/proc/self/mountinfo"}).out, "");
}

}  // namespace
}  // namespace nagaya::oci_test
