// Ways out of a container that others left open, tried one by one (bad inputs: files of our program, descriptors,
// working directory, links, capabilities, cgroups).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "oci/bundle.hpp"

namespace nagaya::oci_test {
namespace {
using ::testing::HasSubstr;
using ::testing::Not;
namespace fs = std::filesystem;

void give_all_rights(Bundle& b) {
  const Json names = Json::parse(b.oci({"features"}).out)["linux"]["capabilities"];
  for (const char* set : {"bounding", "effective", "permitted"}) b.config["process"]["capabilities"][set] = names;
  b.config["process"]["noNewPrivileges"] = false;
}

/// CVE-2019-5736: our program's file, reached through a process of ours in the container, opened for writing.
TEST(OciEscape, OwnProgramFile) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.config["mounts"].push_back(
      {{"destination", "/tmp"}, {"type", "tmpfs"}, {"source", "tmpfs"}, {"options", Json::array()}});
  give_all_rights(b);
  b.script("sleep 1000");
  b.write_config();
  ASSERT_EQ(b.oci({"run", "-d", "-b", b.path, "c"}).code, 0);
  const std::string folder = "/proc/" + std::to_string(b.state("c")["pid"].get<int>()) + "/ns/";
  // Waits at its start in the other's PID namespace: a process that runs our program, in full view.
  Bundle second;
  second.add_namespace("pid", folder + "pid");
  second.script("true");
  second.write_config();
  ASSERT_EQ(second.oci({"create", "-b", second.path, "c"}).code, 0);
  // A file that is executed cannot be written (ETXTBSY), so the attacker keeps it open until its process has ended.
  const std::string program = runtime();
  const auto size = fs::file_size(program);
  ASSERT_EQ(b.oci({"exec", "-d", "c", "sh", "-c",
                   "for p in /proc/[0-9]*; do case $(readlink $p/exe) in *busybox*) continue;; esac; exec 3<$p/exe || "
                   "continue; echo found >/tmp/log;"
                   "while [ -d $p ]; do sleep 0.05; done;"
                   "for i in $(seq 200); do (echo x >>/proc/self/fd/3) 2>/tmp/error && echo written >>/tmp/log; grep "
                   "-q busy /tmp/error || break; sleep 0.02; done;"
                   "cat /tmp/error >>/tmp/log; echo done >>/tmp/log; done"})
                .code,
            0);
  const auto log = [&b] { return b.oci({"exec", "c", "cat", "/tmp/log"}).out; };
  for (int i = 0; i < 300 && log().find("found") == std::string::npos; ++i) ::usleep(20'000);
  EXPECT_THAT(log(), HasSubstr("found")) << "the test must reach the file to be of use";
  ASSERT_EQ(second.oci({"delete", "-f", "c"}).code, 0);
  for (int i = 0; i < 300 && log().find("done") == std::string::npos; ++i) ::usleep(20'000);
  EXPECT_THAT(log(), HasSubstr("done"));
  EXPECT_THAT(log(), Not(HasSubstr("written")));
  EXPECT_THAT(log(), HasSubstr("Read-only file system"));
  EXPECT_EQ(fs::file_size(program), size);
}

/// The same by making the runtime execute itself inside.
TEST(OciEscape, OwnProgramExecutedInside) {
  NEEDS_CONTAINERS();
  Bundle b;
  give_all_rights(b);
  const auto before = fs::last_write_time(runtime());
  b.config["process"]["args"] = {"/proc/self/exe", "--version"};
  b.write_config();
  const Outcome outcome = b.oci({"run", "-b", b.path, "c"});
  b.write("rootfs/bin/script", "#!/proc/self/exe --version\n");
  ::chmod((b.rootfs + "/bin/script").c_str(), 0755);
  b.process({"/bin/script"});
  b.write_config();
  b.oci({"run", "-b", b.path, "c"});
  EXPECT_EQ(fs::last_write_time(runtime()), before);
  EXPECT_NE(outcome.code, -1);
}

/// CVE-2024-21626: a working directory reached through a descriptor of the runtime.
TEST(OciEscape, WorkingDirectoryThroughADescriptor) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.write("outside", "");
  for (int fd = 3; fd < 24; ++fd) {
    for (const char* tail : {"", "/..", "/../../.."}) {
      b.config["process"]["cwd"] = "/proc/self/fd/" + std::to_string(fd) + tail;
      const Outcome outcome = b.run("pwd; ls");
      EXPECT_THAT(outcome.out, Not(HasSubstr("outside"))) << fd;
      EXPECT_THAT(outcome.out, Not(HasSubstr("boot"))) << fd;
      if (outcome.code == 0) {
        EXPECT_EQ(outcome.out[0], '/') << fd;
      }
    }
  }
  b.config["process"]["cwd"] = "/";
  b.script("sleep 1000");
  b.write_config();
  ASSERT_EQ(b.oci({"run", "-d", "-b", b.path, "c"}).code, 0);
  for (int fd = 3; fd < 16; ++fd) {
    const Outcome outcome = b.oci({"exec", "--cwd", "/proc/self/fd/" + std::to_string(fd), "c", "ls"});
    EXPECT_THAT(outcome.out, Not(HasSubstr("state.json"))) << fd;
    EXPECT_THAT(outcome.out, Not(HasSubstr("boot"))) << fd;
  }
}

TEST(OciEscape, NoDescriptorIsLeaked) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.script("ls /proc/self/fd | wc -l; sleep 1000");
  b.write_config();
  ASSERT_EQ(b.oci({"run", "-d", "-b", b.path, "c"}).code, 0);
  EXPECT_EQ(b.oci({"exec", "c", "sh", "-c", "ls /proc/self/fd | wc -l"}).out, "4\n");
  EXPECT_EQ(b.oci({"exec", "c", "sh", "-c", "ls /proc/1/fd | wc -l"}).out, "3\n");
}

/// Links of the image under mount destinations, masked paths and the terminal lead nowhere outside.
TEST(OciEscape, LinksUnderMounts) {
  NEEDS_CONTAINERS();
  Bundle b;
  const std::string victim = b.path + "/victim";
  fs::create_directory(victim);
  for (const char* name : {"dev", "sys"}) {
    fs::remove_all(b.rootfs + "/" + name);
    fs::create_symlink(victim, b.rootfs + "/" + name);
  }
  fs::create_symlink("../../../../../.." + victim, b.rootfs + "/link");
  b.config["mounts"].push_back(
      {{"destination", "/link/made"}, {"type", "tmpfs"}, {"source", "tmpfs"}, {"options", Json::array()}});
  b.config["root"]["readonly"] = false;
  b.config["linux"]["maskedPaths"].push_back("/link");
  b.run("touch /dev/x /link/x; true");
  EXPECT_TRUE(fs::is_empty(victim));
  Bundle proc;
  fs::remove_all(proc.rootfs + "/proc");
  fs::create_symlink("tmp", proc.rootfs + "/proc");
  EXPECT_NE(proc.run("true").code, 0) << "a /proc elsewhere would leave masked paths open";
}

TEST(OciEscape, ProcessesOfOursCannotBeTraced) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.script("sleep 1000");
  b.write_config();
  ASSERT_EQ(b.oci({"create", "-b", b.path, "c"}).code, 0);
  // Waiting at its start, it has the command's memory; root of the container without CAP_SYS_PTRACE may not look.
  const Outcome outcome = b.oci({"exec", "c", "sh", "-c",
                                 "cat /proc/1/environ; readlink /proc/1/root; readlink /proc/1/cwd; for f in "
                                 "/proc/1/fd/*; do readlink $f; done; cat /proc/1/maps"});
  EXPECT_EQ(outcome.out, "");
  EXPECT_NE(outcome.code, 0);
}

TEST(OciEscape, NothingOfTheEnvironment) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.script("cat /proc/1/environ | tr '\\0' '\\n'");
  b.write_config();
  ::setenv("OCI_TEST_SECRET", "leaked", 1);
  EXPECT_EQ(b.oci({"run", "-b", b.path, "c"}).out, "PATH=/bin\nHOME=/root\n");
  ::unsetenv("OCI_TEST_SECRET");
}

TEST(OciEscape, CgroupsAreNotWritable) {
  NEEDS_CONTAINERS();
  Bundle b;
  const Outcome outcome = b.run(
      "find /sys/fs/cgroup -name cgroup.procs | while read f; do echo 1 >$f && echo written; done 2>/dev/null; echo "
      "done");
  EXPECT_EQ(outcome.out, "done\n");
}

TEST(OciEscape, StatePathsStayInside) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.script("true");
  b.write_config();
  fs::create_directory(b.path + "/victim");
  b.write("victim/state.json", "{}");
  fs::create_directories(b.root);
  fs::create_directory_symlink(b.path + "/victim", b.root + "/link");
  EXPECT_NE(b.oci({"delete", "-f", "../bundle/victim"}).code, 0);
  b.oci({"delete", "-f", "link"});
  EXPECT_TRUE(fs::exists(b.path + "/victim/state.json"));
  EXPECT_NE(b.oci({"create", "-b", b.path, "link"}).code, 0);
  fs::remove(b.root + "/link");
}

/// A container made in a chroot whose root is a mount point: the root of its mount namespace is the host's own, and a process that joins
/// the namespace begins there.
TEST(OciEscape, ExecOfAContainerMadeInAChroot) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.script("sleep 1000");
  b.write_config();
  fs::create_directory(b.path + "/chroot");
  const std::string here = "mount --make-rprivate / && mount --rbind / " + b.path + "/chroot && exec chroot " + b.path + "/chroot " + runtime() + " --root " + b.root;
  const Outcome made = run_program({"unshare", "-m", "sh", "-c", here + " run -d -b " + b.path + " c"});
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_EQ(b.oci({"exec", "c", "ls", "/proc/1/root/"}).out, b.oci({"exec", "c", "ls", "/"}).out);
  EXPECT_EQ(b.oci({"exec", "c", "cat", "/etc/passwd"}).out, b.read("rootfs/etc/passwd"));
  EXPECT_EQ(b.oci({"exec", "--cwd", b.path, "c", "true"}).code, 125) << "no such folder inside, and the root is read-only";
  EXPECT_EQ(b.oci({"delete", "-f", "c"}).code, 0);
}

}  // namespace
}  // namespace nagaya::oci_test
