// Ways out through processes and descriptors of the runtime itself.
#include <elf.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "oci/bundle.hpp"

namespace nagaya::oci_test {
namespace {
using ::testing::HasSubstr;
using ::testing::Not;
namespace fs = std::filesystem;

void add_attacker(const Bundle& b) { fs::copy_file(OCI_ATTACKER, b.rootfs + "/bin/attacker"); }

/// Descriptors of the caller, folders of the host among them, that it forgot to mark close-on-exec.
class Leak {
 public:
  explicit Leak(const std::string& folder) {
    for (int number = 20; number < 24; ++number) {
      const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY);
      ::dup2(fd, number);
      ::close(fd);
    }
  }
  ~Leak() {
    for (int number = 20; number < 24; ++number) ::close(number);
  }
};

TEST(OciEscapeDescriptor, OfTheCaller) {
  NEEDS_CONTAINERS();
  Bundle b;
  add_attacker(b);
  const Leak leak(b.path);
  b.process({"/bin/attacker", "fds"});
  b.write_config();
  EXPECT_THAT(b.oci({"run", "-b", b.path, "c"}).out, HasSubstr("stopped: no descriptors"));
  b.script("sleep 1000");
  b.write_config();
  ASSERT_EQ(b.oci({"run", "-d", "-b", b.path, "d"}).code, 0);
  EXPECT_THAT(b.oci({"exec", "d", "/bin/attacker", "fds"}).out, HasSubstr("stopped: no descriptors"));
}

// CVE-2024-21626: the program to run, the working directory or a link of the image names such a descriptor.
TEST(OciEscapeDescriptor, PathsThroughThem) {
  NEEDS_CONTAINERS();
  Bundle b;
  const std::string victim = b.path + "/victim";
  fs::create_directories(victim);
  fs::copy_file("/bin/busybox", victim + "/busybox");
  const Leak leak(victim);
  b.config["root"]["readonly"] = false;
  // The host's program.
  for (const char* program : {"/proc/self/fd/20/busybox", "/proc/self/fd/20/../victim/busybox", "/link/busybox"}) {
    ::unlink((b.rootfs + "/link").c_str());
    fs::create_symlink("/proc/self/fd/21", b.rootfs + "/link");
    b.process({program, "true"});
    b.write_config();
    EXPECT_NE(b.oci({"run", "-b", b.path, "c"}).code, 0) << program;
  }
  // A working directory that is to be made, through a link of the image.
  b.script("pwd");
  b.config["process"]["cwd"] = "/link/made";
  b.write_config();
  EXPECT_NE(b.oci({"run", "-b", b.path, "c"}).code, 0);
  EXPECT_FALSE(fs::exists(victim + "/made"));
  b.config["process"]["cwd"] = "/";
  // The same for exec.
  b.script("sleep 1000");
  b.write_config();
  ASSERT_EQ(b.oci({"run", "-d", "-b", b.path, "d"}).code, 0);
  EXPECT_NE(b.oci({"exec", "d", "/proc/self/fd/20/busybox", "true"}).code, 0);
  EXPECT_NE(b.oci({"exec", "--cwd", "/link/made", "d", "true"}).code, 0);
  EXPECT_FALSE(fs::exists(victim + "/made"));
}

// CVE-2016-9962: a process of exec, looked into before it has given up what it has.
TEST(OciEscapeDescriptor, ProcessesThatEnter) {
  NEEDS_CONTAINERS();
  for (const bool own_users : {false, true}) {
    Bundle b;
    add_attacker(b);
    b.process({"/bin/attacker", "watch", "4"});
    if (own_users) {
      b.with_user_namespace();
      // All rights of the namespace's root, to look into others as well.
      const Json names = Json::parse(b.oci({"features"}).out)["linux"]["capabilities"];
      for (const char* set : {"bounding", "effective", "permitted"}) b.config["process"]["capabilities"][set] = names;
    }
    b.write_config();
    std::atomic<bool> end{false};
    Outcome outcome;
    std::thread container([&] {
      outcome = b.oci({"run", "-b", b.path, "c"});
      end = true;
    });
    ASSERT_TRUE(b.wait_status("c", "running"));
    int entered = 0;
    while (!end) entered += b.oci({"exec", "c", "true"}).code == 0;
    container.join();
    EXPECT_GT(entered, 3);
    EXPECT_THAT(outcome.out, HasSubstr("stopped: nothing of the runtime")) << outcome.err;
  }
}

// A container without a mount namespace is confined to its folder; so are the processes that enter it.
TEST(OciEscapeDescriptor, ExecWithoutAMountNamespace) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.write("marker", "");
  b.without_namespace("mount");
  b.config["mounts"] = Json::array();
  for (const char* paths : {"maskedPaths", "readonlyPaths"}) b.config["linux"].erase(paths);
  b.config["root"]["readonly"] = false;
  b.script("while true; do sleep 1; done");
  b.write_config();
  const Outcome made = b.oci({"run", "-d", "-b", b.path, "c"});
  if (made.code != 0) GTEST_SKIP() << made.err;
  const Outcome outcome = b.oci({"exec", "c", "ls", b.path + "/marker"});
  EXPECT_NE(outcome.code, 0);
  EXPECT_THAT(outcome.out, Not(HasSubstr("marker")));
}

// CVE-2019-14271: code of the image that the runtime would load while it has the host's rights.
TEST(OciEscapeDescriptor, NoCodeOfTheImageIsLoaded) {
  NEEDS_CONTAINERS();
  std::ifstream file(runtime(), std::ios::binary);
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  ASSERT_GT(content.size(), 100'000u);
  EXPECT_EQ(content.find("nsswitch.conf"), std::string::npos) << "names of users are looked up by modules";
  Elf64_Ehdr head{};
  std::memcpy(&head, content.data(), sizeof head);
  for (unsigned i = 0; i < head.e_phnum; ++i) {
    Elf64_Phdr part{};
    std::memcpy(&part, content.data() + head.e_phoff + i * sizeof part, sizeof part);
    EXPECT_NE(part.p_type, static_cast<Elf64_Word>(PT_INTERP)) << "the program is not static";
  }
}

}  // namespace
}  // namespace nagaya::oci_test
