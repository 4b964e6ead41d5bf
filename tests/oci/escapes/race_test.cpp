// Links that somebody exchanges while a container is made: another container that shares a volume, or the image's own content.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

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

/// Exchanges two names again and again, as fast as it goes.
class Exchanger {
 public:
  Exchanger(std::string a, std::string b) : thread_([this, a = std::move(a), b = std::move(b)] {
      while (!end_) {
        if (::syscall(SYS_renameat2, AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0) ++count_;
      }
    }) {}
  ~Exchanger() {
    end_ = true;
    thread_.join();
    EXPECT_GT(count_, 10) << "there was no race";
  }

 private:
  std::atomic<bool> end_{false};
  std::atomic<int> count_{0};
  std::thread thread_;
};

constexpr int rounds = 25;

Json mount_of(const std::string& destination, const std::string& type, const std::string& source, const std::vector<std::string>& options) {
  return {{"destination", destination}, {"type", type}, {"source", source}, {"options", options}};
}

/// Lines of the host's mounts that name a folder.
std::string mounts_of(const std::string& folder) {
  std::string out;
  std::istringstream all(text_of("/proc/self/mountinfo"));
  for (std::string line; std::getline(all, line);) {
    if (line.find(folder) != std::string::npos) out += line + "\n";
  }
  return out;
}

// CVE-2021-30465, CVE-2024-45310: neither a mount nor a new folder lands outside.
TEST(OciEscapeRace, FoldersAndLinksUnderMounts) {
  NEEDS_CONTAINERS();
  for (const char* aim : {"absolute", "upwards"}) {
    Bundle b;
    const std::string victim = b.path + "/victim", share = b.path + "/share";
    fs::create_directories(victim);
    b.write("victim/marker", "");
    fs::create_directories(share + "/place/inner");
    fs::create_directory_symlink(std::string(aim) == "absolute" ? victim : "../../../../../../../../../.." + victim, share + "/link");
    b.config["mounts"].push_back(mount_of("/share", "bind", share, {"rbind"}));
    b.config["mounts"].push_back(mount_of("/share/place/inner/made", "tmpfs", "tmpfs", {}));
    b.config["mounts"].push_back(mount_of("/share/place/other", "bind", b.path + "/share", {"rbind"}));
    const std::string before = mounts_of(b.path);
    {
      const Exchanger race(share + "/place", share + "/link");
      for (int i = 0; i < rounds; ++i) {
        const Outcome outcome = b.run("for f in /share/*/marker /share/*/*/marker " + victim + "/marker; do test -e $f && echo $f; done; true");
        ASSERT_EQ(outcome.out, "") << outcome.err;
      }
    }
    EXPECT_EQ(std::distance(fs::directory_iterator(victim), {}), 1) << "something was made outside";
    // Others may mount and unmount meanwhile: ours alone count.
    EXPECT_EQ(mounts_of(b.path), before);
  }
}

// CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: /proc somewhere else, with a forgery in its place.
TEST(OciEscapeRace, ProcItself) {
  NEEDS_CONTAINERS();
  Bundle b;
  fs::remove_all(b.rootfs + "/proc");
  fs::create_directories(b.rootfs + "/proc");
  fs::create_directories(b.rootfs + "/forged/self/attr");
  fs::create_directory_symlink("forged", b.rootfs + "/elsewhere");
  b.config["root"]["readonly"] = false;
  const Exchanger race(b.rootfs + "/proc", b.rootfs + "/elsewhere");
  for (int i = 0; i < rounds; ++i) {
    // Built or refused; when it is built, what must be hidden is hidden and what must be read-only is.
    const Outcome outcome = b.run("mount | grep -q ' on /proc type proc' || exit 0; ( : >>/proc/sys/kernel/core_pattern ) 2>/dev/null && echo open; head -c 1 /proc/keys 2>/dev/null");
    ASSERT_EQ(outcome.out, "") << outcome.err;
  }
}

// CVE-2025-31133: what covers masked files is the null device, or nothing is started.
TEST(OciEscapeRace, TheNullDevice) {
  NEEDS_CONTAINERS();
  Bundle b;
  const std::string dev = b.path + "/dev";
  fs::create_directories(dev);
  ASSERT_EQ(::mknod((dev + "/null").c_str(), S_IFCHR | 0666, makedev(1, 3)), 0);
  fs::create_symlink("/proc/sys/kernel/core_pattern", dev + "/link");
  b.without_mounts("tmpfs");
  b.without_mounts("devpts");
  b.without_mounts("mqueue");
  b.config["mounts"].push_back(mount_of("/dev", "bind", dev, {"rbind"}));
  b.write("rootfs/masked", "secret");
  b.config["linux"]["maskedPaths"] = {"/masked", "/proc/keys"};
  const Exchanger race(dev + "/null", dev + "/link");
  int built = 0;
  for (int i = 0; i < rounds; ++i) {
    const Outcome outcome = b.run("stat -c %t:%T /masked; stat -c %t:%T /proc/keys; mount | grep -c core_pattern");
    if (outcome.out.empty()) continue;  // refused
    ++built;
    ASSERT_EQ(outcome.out, "1:3\n1:3\n0\n") << outcome.err;
  }
  EXPECT_THAT(built, ::testing::Le(rounds));
}

// Without a race: the image's own /dev/null and /dev/console are links.
TEST(OciEscapeRace, DeviceFilesOfTheImage) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.without_mounts("tmpfs");
  b.without_mounts("devpts");
  b.without_mounts("mqueue");
  b.config["root"]["readonly"] = false;
  fs::remove_all(b.rootfs + "/dev");
  fs::create_directories(b.rootfs + "/dev");
  for (const char* name : {"null", "zero", "tty", "ptmx", "console", "fd"}) fs::create_symlink("/proc/sys/kernel/core_pattern", b.rootfs + "/dev/" + name);
  b.config["linux"]["maskedPaths"] = {"/proc/keys"};
  const std::string before = text_of("/proc/sys/kernel/core_pattern");
  const Outcome outcome = b.run("stat -c %t:%T /dev/null /dev/zero /proc/keys; echo x >/dev/null");
  EXPECT_EQ(outcome.out, "1:3\n1:5\n1:3\n") << outcome.err;
  EXPECT_EQ(text_of("/proc/sys/kernel/core_pattern"), before);
}

// CVE-2019-16884: a volume over /proc, or a link of the image into it.
TEST(OciEscapeRace, MountsInsideProc) {
  NEEDS_CONTAINERS();
  for (const char* where : {"/proc", "/proc/self/attr", "/proc/sys/kernel", "/proc/1", "/link/attr", "/proc/../proc/self"}) {
    Bundle b;
    fs::create_directories(b.path + "/share");
    fs::create_directory_symlink("/proc/self", b.rootfs + "/link");
    b.config["mounts"].push_back(mount_of(where, "bind", b.path + "/share", {"bind"}));
    EXPECT_NE(b.run("true").code, 0) << where;
  }
}

// CVE-2025-52565: /dev/console exchanged while a terminal is bound on it.
TEST(OciEscapeRace, TheConsole) {
  NEEDS_CONTAINERS();
  Bundle b;
  const std::string dev = b.path + "/dev";
  fs::create_directories(dev + "/pts");
  b.write("dev/console", "");
  fs::create_symlink("/proc/sys/kernel/core_pattern", dev + "/link");
  fs::create_symlink("pts/ptmx", dev + "/ptmx");
  ASSERT_EQ(::mknod((dev + "/null").c_str(), S_IFCHR | 0666, makedev(1, 3)), 0);
  b.without_mounts("tmpfs");
  b.without_mounts("mqueue");
  // devpts goes below it.
  const Json pts = b.config["mounts"];
  b.without_mounts("devpts");
  b.config["mounts"].push_back(mount_of("/dev", "bind", dev, {"rbind"}));
  for (const Json& one : pts) {
    if (one["type"] == "devpts") b.config["mounts"].push_back(one);
  }
  b.config["process"]["terminal"] = true;
  const Exchanger race(dev + "/console", dev + "/link");
  for (int i = 0; i < rounds; ++i) {
    const Outcome outcome = b.run("mount | grep core_pattern; ( : >>/proc/sys/kernel/core_pattern ) 2>/dev/null && echo open; true");
    ASSERT_THAT(outcome.out, Not(HasSubstr("core_pattern"))) << outcome.err;
    ASSERT_THAT(outcome.out, Not(HasSubstr("open")));
  }
}

}  // namespace
}  // namespace nagaya::oci_test
