#include "container/root/root.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

#include "container/root/mount_options.hpp"
#include "container/root/resolve.hpp"
#include "host/in_child.hpp"

namespace nagaya::container {
namespace {

namespace fs = std::filesystem;

std::string text_of(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A folder to be a root, and one beside it that nothing may reach.
class Root : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: mounts";
    std::string name = (fs::temp_directory_path() / "root-test-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    fs::create_directories(folder_ / "bundle/rootfs/etc");
    fs::create_directories(folder_ / "outside");
    spec_.root_path = "rootfs";
    spec_.mounts = {{.destination = "/proc", .type = "proc", .source = "proc", .options = {"nosuid", "noexec", "nodev"}, .uid_mappings = {}, .gid_mappings = {}},
                    mount("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}),
                    mount("/dev/pts", "devpts", "devpts", {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"})};
  }
  void TearDown() override {
    if (!folder_.empty()) fs::remove_all(folder_);
  }
  static Mount mount(std::string destination, std::string type, std::string source, std::vector<std::string> options) {
    Mount out;
    out.destination = std::move(destination);
    out.type = std::move(type);
    out.source = std::move(source);
    out.options = std::move(options);
    return out;
  }
  fs::path rootfs() const { return folder_ / "bundle/rootfs"; }

  /// Builds and enters the root in a child; `check` returns what is wrong, or nothing.
  std::string inside(const std::function<std::string()>& check) {
    const auto pipe = host::Fd::pipe();
    const pid_t pid = ::fork();
    if (pid == 0) {
      std::string said = enter();
      if (said.empty()) said = check();
      (void)host::write_all(pipe->second.get(), said);
      ::_exit(0);
    }
    const_cast<host::Fd&>(pipe->second).reset();
    const auto said = host::read_all(pipe->first.get(), MiB, "child");
    ::waitpid(pid, nullptr, 0);
    return said ? std::string(said->begin(), said->end()) : said.error().message();
  }

  /// The same with a root on a shared mount; tells whether any mount came back to that side.
  std::string inside_shared(const std::function<std::string()>& check) {
    return host::in_child([&]() -> std::string {
      const std::string bundle = (folder_ / "bundle").string();
      if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return "unshare";
      if (::mount("tmpfs", bundle.c_str(), "tmpfs", 0, nullptr) != 0 || ::mount(nullptr, bundle.c_str(), nullptr, MS_SHARED, nullptr) != 0) return "mount";
      fs::create_directories(rootfs());
      const std::string before = text_of("/proc/self/mountinfo");
      if (std::string said = inside(check); !said.empty()) return said;
      return text_of("/proc/self/mountinfo") == before ? "" : "mounts came back: " + text_of("/proc/self/mountinfo");
    });
  }

  fs::path folder_;
  Spec spec_;
  RootRequest request_;

 private:
  std::string enter() {
    request_.spec = &spec_;
    request_.bundle = (folder_ / "bundle").string();
    auto prepared = prepare_mounts(request_);
    if (!prepared) return prepared.error().message();
    if (::unshare(CLONE_NEWNS) != 0) return "unshare failed";
    auto root = build_root(request_, *prepared);
    if (!root) return root.error().message();
    const auto entered = enter_root(request_, *root);
    return entered ? "" : entered.error().message();
  }
};

bool is_device(const char* path, unsigned major_number, unsigned minor_number) {
  struct stat info {};
  return ::lstat(path, &info) == 0 && S_ISCHR(info.st_mode) && info.st_rdev == makedev(major_number, minor_number);
}
bool read_only(const char* path) {
  struct statvfs info {};
  return ::statvfs(path, &info) == 0 && (info.f_flag & ST_RDONLY) != 0;
}
TEST_F(Root, HasDevicesAndLinksAndNothingOfTheHost) {
  EXPECT_EQ(inside([this]() -> std::string {
              if (!is_device("/dev/null", 1, 3) || !is_device("/dev/tty", 5, 0)) return "devices";
              if (fs::read_symlink("/dev/ptmx") != "pts/ptmx" || fs::read_symlink("/dev/fd") != "/proc/self/fd") return "links";
              if (fs::exists(folder_)) return "the host's files are there";
              if (text_of("/proc/self/mountinfo").find("rootfs / ") == std::string::npos && !fs::exists("/proc/1")) return "no proc";
              return "";
            }),
            "");
}

TEST_F(Root, IsReadOnlyWithReadOnlyAndMaskedPathsWhenAsked) {
  fs::create_directories(rootfs() / "secret/below");
  std::ofstream(rootfs() / "key") << "k";
  std::ofstream(rootfs() / "kept") << "k";
  spec_.root_readonly = true;
  spec_.linux.masked_paths = {"/secret", "/key", "/not/there", "/key/not-a-folder"};
  spec_.linux.readonly_paths = {"/proc/sys", "/nowhere"};
  EXPECT_EQ(inside([]() -> std::string {
              if (!read_only("/")) return "root";
              if (read_only("/dev")) return "/dev";
              if (!read_only("/proc/sys")) return "/proc/sys";
              if (!fs::is_empty("/secret") || ::mkdir("/secret/x", 0755) == 0) return "/secret";
              if (!is_device("/key", 1, 3)) return "/key";
              return text_of("/kept") == "k" ? "" : "/kept";
            }),
            "");
}

TEST_F(Root, LinksOfTheImageLeadNowhereElse) {
  fs::create_symlink("/../../../outside", rootfs() / "data");
  fs::create_symlink(folder_ / "outside", rootfs() / "etc/absolute");
  std::ofstream(folder_ / "bundle/file") << "inside";
  spec_.mounts.push_back(mount("/data/x", "bind", "file", {"bind", "ro"}));
  spec_.mounts.push_back(mount("/etc/absolute", "tmpfs", "tmpfs", {}));
  EXPECT_EQ(inside([]() -> std::string {
              if (text_of("/outside/x") != "inside" || !read_only("/outside/x")) return "bind";
              return "";
            }),
            "");
  EXPECT_TRUE(fs::is_empty(folder_ / "outside"));
}

TEST_F(Root, RefusesMountsThatWouldReplaceProc) {
  fs::create_directories(folder_ / "bundle/fake/self");
  const auto with = [&](Mount last) {
    spec_.mounts.resize(3);
    spec_.mounts.push_back(std::move(last));
    return inside([] { return std::string("was allowed"); });
  };
  EXPECT_NE(with(mount("/proc", "bind", "fake", {"bind"})).find("only be a proc file system"), std::string::npos);
  EXPECT_NE(with(mount("/proc/self/attr", "bind", "fake", {"bind"})).find("inside /proc"), std::string::npos);
  EXPECT_NE(with(mount("/", "bind", "fake", {"bind"})).find("root itself"), std::string::npos);
  fs::create_symlink("etc", rootfs() / "sys");
  EXPECT_NE(with(mount("/sys", "sysfs", "sysfs", {})).find("symbolic link"), std::string::npos);
}

TEST_F(Root, ReadOnlyFormsReachWhatIsBelow) {
  spec_.mounts.push_back(mount("/a", "tmpfs", "tmpfs", {}));
  spec_.mounts.push_back(mount("/a/b", "tmpfs", "tmpfs", {}));
  fs::create_directories(folder_ / "bundle/tree");
  spec_.mounts.push_back(mount("/plain", "bind", "/sys", {"rbind", "ro"}));
  spec_.mounts.push_back(mount("/deep", "bind", "/sys", {"rbind", "rro"}));
  EXPECT_EQ(inside([]() -> std::string {
              if (!read_only("/plain") || !read_only("/deep") || !read_only("/deep/fs/cgroup")) return "forms";
              return read_only("/a") ? "/a" : "";
            }),
            "");
}

TEST_F(Root, TmpfsBeginsWithWhatLiesBelowWhenAsked) {
  fs::create_directories(rootfs() / "var/deep");
  std::ofstream(rootfs() / "var/deep/file") << "content";
  fs::create_symlink("deep/file", rootfs() / "var/link");
  ASSERT_EQ(::chown((rootfs() / "var/deep/file").c_str(), 12, 34), 0);
  spec_.mounts.push_back(mount("/var", "tmpfs", "tmpfs", {"tmpcopyup", "ro"}));
  EXPECT_EQ(inside([]() -> std::string {
              struct stat info {};
              if (::stat("/var/link", &info) != 0 || info.st_uid != 12 || info.st_gid != 34) return "owner";
              return text_of("/var/link") == "content" && read_only("/var") ? "" : "content";
            }),
            "");
}

TEST_F(Root, IdmappedBindsShowOtherOwners) {
  fs::create_directories(folder_ / "bundle/owned");
  Mount last = mount("/owned", "bind", (folder_ / "bundle/owned").string(), {"bind"});
  last.uid_mappings = last.gid_mappings = {{0, 5000, 10}};
  spec_.mounts.push_back(last);
  const std::string said = inside([]() -> std::string {
    struct stat info {};
    return ::stat("/owned", &info) == 0 && info.st_uid == 5000 ? "" : "owner " + std::to_string(info.st_uid);
  });
  if (said.find("may not support") != std::string::npos) GTEST_SKIP() << said;
  EXPECT_EQ(said, "");
}

TEST_F(Root, DevicesOfTheConfigurationAreMade) {
  spec_.linux.devices = {{.type = 'c', .path = "/dev/deep/zero", .major = 1, .minor = 5, .file_mode = 0640, .uid = 3, .gid = 4},
                         {.type = 'p', .path = "/pipe", .file_mode = 0600}};
  EXPECT_EQ(inside([]() -> std::string {
              struct stat info {};
              if (::stat("/dev/deep/zero", &info) != 0 || (info.st_mode & 07777) != 0640 || info.st_uid != 3 || info.st_gid != 4) return "device";
              return ::stat("/pipe", &info) == 0 && S_ISFIFO(info.st_mode) ? "" : "pipe";
            }),
            "");
}

TEST_F(Root, CanBeMovedInsteadOfPivoted) {
  request_.no_pivot = true;
  EXPECT_EQ(inside([this]() -> std::string {
              if (!fs::exists("/etc") || fs::exists(folder_)) return "not inside";
              // No procfs of the host is left in the namespace.
              const std::string mounts = text_of("/proc/self/mountinfo");
              std::size_t count = 0;
              for (std::size_t at = 0; (at = mounts.find(" - proc ", at)) != std::string::npos; ++at) ++count;
              return count == 1 ? "" : mounts;
            }),
            "");
}

TEST_F(Root, ReadOnlyTmpfsStillHasItsMountPoints) {
  fs::create_directories(rootfs() / "covered");
  fs::permissions(rootfs() / "covered", fs::perms(01770));
  spec_.mounts.push_back(mount("/covered", "tmpfs", "tmpfs", {"ro"}));
  spec_.mounts.push_back(mount("/covered/deep/data", "tmpfs", "tmpfs", {"mode=700"}));
  spec_.mounts[1].options.emplace_back("ro");  // of /dev
  EXPECT_EQ(inside([]() -> std::string {
              struct stat info {};
              if (!read_only("/covered") || !read_only("/dev") || read_only("/covered/deep/data")) return "flags";
              if (::stat("/covered", &info) != 0 || (info.st_mode & 07777) != 01770) return "the mode is not that of the folder below";
              return is_device("/dev/null", 1, 3) ? "" : "no devices";
            }),
            "");
}

TEST_F(Root, SharedRootIsSharedWithNobodyOutside) {
  spec_.linux.rootfs_propagation = "rshared";
  // The root lies on a shared mount of the host's side.
  const std::string said = inside_shared([]() -> std::string {
    return text_of("/proc/self/mountinfo").find("/rootfs / ") != std::string::npos && text_of("/proc/self/mountinfo").find("shared:") != std::string::npos ? "" : "not shared";
  });
  EXPECT_EQ(said, "");
}

TEST_F(Root, UnknownPropagationIsRefused) {
  spec_.linux.rootfs_propagation = "sideways";
  EXPECT_NE(inside([] { return std::string(); }).find("sideways"), std::string::npos);
}

TEST_F(Root, ProcIsBoundFromAProcfsRootOnly) {
  spec_.mounts[0] = mount("/proc", "bind", "/proc/self", {"bind"});
  EXPECT_NE(inside([] { return std::string(); }).find("can only be a proc file system"), std::string::npos);
  spec_.mounts[0] = mount("/proc", "bind", "/proc", {"rbind"});
  EXPECT_EQ(inside([] { return std::string(fs::exists("/proc/self") ? "" : "no proc"); }), "");
}

TEST_F(Root, RemountChangesWhatIsThere) {
  spec_.mounts.push_back(mount("/data", "tmpfs", "tmpfs", {}));
  spec_.mounts.push_back(mount("/data", "none", "none", {"remount", "ro", "noexec"}));
  EXPECT_EQ(inside([] { return std::string(read_only("/data") ? "" : "writable"); }), "");
}

TEST_F(Root, HundredsOfCharactersOfLowerFolders) {
  std::string lower;
  for (int i = 0; i < 9; ++i) {
    const fs::path layer = folder_ / ("layer-with-a-long-name-" + std::to_string(i));
    fs::create_directories(layer / ("of-" + std::to_string(i)));
    lower += (i == 0 ? "" : ":") + layer.string();
  }
  spec_.mounts.push_back(mount("/merged", "overlay", "overlay", {"lowerdir=" + lower, "ro"}));
  EXPECT_EQ(inside([] { return std::string(fs::exists("/merged/of-0") && fs::exists("/merged/of-8") && read_only("/merged") ? "" : "layers"); }), "");
}

// In a user namespace, what the host forbids on a mount stays forbidden, whatever is asked.
TEST_F(Root, LockedFlagsStayInAUserNamespace) {
  if (!host::can_unshare(CLONE_NEWUSER | CLONE_NEWNS)) GTEST_SKIP() << "needs user namespaces";
  spec_.mounts = {mount("/share", "bind", (folder_ / "outside").string(), {"rbind", "rw", "suid", "exec"})};
  const std::string said = host::in_child([this]() -> std::string {
    const std::string outside = (folder_ / "outside").string();
    if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return "unshare";
    if (::mount("tmpfs", outside.c_str(), "tmpfs", MS_RDONLY | MS_NOSUID | MS_NOEXEC, nullptr) != 0) return "mount";
    request_.spec = &spec_;
    request_.bundle = (folder_ / "bundle").string();
    request_.new_user_namespace = true;
    fs::permissions(folder_, fs::perms(0755));
    auto prepared = prepare_mounts(request_);
    if (!prepared) return prepared.error().message();
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return "unshare";
    const auto put = [](const char* path) {
      const host::Fd fd(::open(path, O_WRONLY | O_CLOEXEC));
      return fd && ::write(fd.get(), "0 0 1", 5) == 5;
    };
    const host::Fd groups(::open("/proc/self/setgroups", O_WRONLY | O_CLOEXEC));
    if (::write(groups.get(), "deny", 4) != 4 || !put("/proc/self/uid_map") || !put("/proc/self/gid_map")) return "maps";
    auto root = build_root(request_, *prepared);
    if (!root) return root.error().message();
    if (auto done = enter_root(request_, *root); !done) return done.error().message();
    struct statvfs info {};
    if (::statvfs("/share", &info) != 0 || (info.f_flag & (ST_RDONLY | ST_NOSUID | ST_NOEXEC)) != (ST_RDONLY | ST_NOSUID | ST_NOEXEC)) return "flags were taken away";
    struct stat node {};
    return ::stat("/dev/null", &node) == 0 && node.st_rdev == makedev(1, 3) ? "" : "no bound device";
  });
  EXPECT_EQ(said, "");
}

TEST(MountOptions, AreReadAsTheSpecificationSays) {
  Mount mount;
  mount.options = {"rbind", "ro", "nosuid", "suid", "rnoexec", "rslave", "noatime", "relatime", "size=3", "idmap"};
  const MountOptions options = parse_mount_options(mount);
  EXPECT_TRUE(options.bind && options.recursive && options.idmap && options.read_only());
  EXPECT_EQ(options.set, static_cast<u64>(MOUNT_ATTR_RDONLY));
  EXPECT_EQ(options.clear, static_cast<u64>(MOUNT_ATTR_NOSUID | MOUNT_ATTR__ATIME));
  EXPECT_EQ(options.set_recursive, static_cast<u64>(MOUNT_ATTR_NOEXEC));
  EXPECT_EQ(options.propagation, std::vector<u64>{MS_SLAVE | MS_REC});
  EXPECT_EQ(options.data, std::vector<std::string>{"size=3"});
}

TEST(CleanPath, StaysBelowTheRoot) {
  EXPECT_EQ(clean_path("/a/../../b//./c/"), "/b/c");
  EXPECT_EQ(clean_path(".."), "/");
  EXPECT_EQ(clean_path(""), "/");
}

}  // namespace
}  // namespace nagaya::container
