#include "host/apart.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/scope.hpp"

namespace nagaya::host {
namespace {

/// Files of /proc take their content in one piece.
bool tell_kernel(const char* path, const std::string& text) {
  const Fd file(::open(path, O_WRONLY | O_CLOEXEC));
  return file && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

std::string because(const char* what) { return fmt::format("{}: {}", what, std::strerror(errno)); }

/// A user namespace in which this user and group are themselves.
bool become_owner(Apart& out) {
  const uid_t user = ::geteuid();
  const gid_t group = ::getegid();
  if (::unshare(CLONE_NEWUSER) != 0) {
    out.missing.push_back(because("no user namespace"));
    return false;
  }
  // Without the right to give up groups, since that could give rights (user_namespaces(7)).
  (void)tell_kernel("/proc/self/setgroups", "deny");
  if (!tell_kernel("/proc/self/uid_map", fmt::format("{} {} 1", user, user)) ||
      !tell_kernel("/proc/self/gid_map", fmt::format("{} {} 1", group, group))) {
    out.missing.push_back(because("a user namespace without users"));
  }
  return true;
}

Fd clone_tree(const char* path, unsigned flags) {
  return Fd(static_cast<int>(::syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags)));
}

/// Attaches a tree at `place`, which is made, relative to the working directory.
Result<> attach(const Fd& tree, const std::string& place) {
  if (::mkdir(place.c_str(), 0755) != 0 && errno != EEXIST) return fail_errno(fmt::format("cannot make '{}' in an empty root", place));
  if (::syscall(SYS_move_mount, tree.get(), "", AT_FDCWD, place.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return fail_errno(fmt::format("cannot mount '{}' in an empty root", place));
  }
  return {};
}

std::atomic<bool> gave_up_paths = false;

constexpr unsigned long harmless = MS_NOSUID | MS_NODEV | MS_NOEXEC;

}  // namespace

Apart leave_namespaces() {
  Apart out;
  if (::unshare(CLONE_NEWNS) != 0) {
    if (errno != EPERM) out.missing.push_back(because("no mounts of its own"));
    if (errno != EPERM || !become_owner(out)) return out;
    if (::unshare(CLONE_NEWNS) != 0) {
      out.missing.push_back(because("no mounts of its own"));
      return out;
    }
  }
  // Nothing of ours shows on the host; what the host unmounts does not stay in use here.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) == 0) {
    out.mounts = true;
  } else {
    out.missing.push_back(because("no mounts of its own"));
  }
  out.network = ::unshare(CLONE_NEWNET) == 0;
  if (!out.network) out.missing.push_back(because("no network namespace"));
  out.others = ::unshare(CLONE_NEWIPC | CLONE_NEWUTS) == 0;
  if (!out.others) out.missing.push_back(because("no IPC and host name namespaces"));
  return out;
}

Result<> enter_empty_root(const std::vector<KeptFolder>& folders, bool descriptors) {
  const std::string context = "cannot leave the host's file system";
  std::vector<std::pair<Fd, std::string>> trees;
  for (const KeptFolder& folder : folders) {
    Fd tree = clone_tree(folder.path.c_str(), 0);
    if (!tree) return fail_errno(fmt::format("cannot keep '{}'", folder.path));
    mount_attr attributes{};
    attributes.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    if (::syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0) {
      return fail_errno(fmt::format("cannot keep '{}'", folder.path));
    }
    trees.emplace_back(std::move(tree), folder.name);
  }
  Fd own;
  if (descriptors && !(own = clone_tree("/proc/self/fd", 0))) return fail_errno("cannot keep /proc/self/fd");

  // Any folder will do as the place of the new root; this one is on each host.
  constexpr const char* place = "/proc";
  if (::mount("jail", place, "tmpfs", harmless, "size=64k,nr_inodes=32,mode=0555") != 0) return fail_errno(context);
  ScopeExit undo([&] {
    (void)::chdir("/");
    (void)::umount2(place, MNT_DETACH);
  });
  if (::chdir(place) != 0) return fail_errno(context);
  for (const auto& [tree, name] : trees) TRY(attach(tree, name));
  if (descriptors) {
    if (::mkdir("proc", 0755) != 0 || ::mkdir("proc/self", 0755) != 0) return fail_errno(context);
    TRY(attach(own, "proc/self/fd"));
  }
  // The old root comes to lie on the new one, where "." still leads, and goes from there (pivot_root(2), NOTES). All threads
  // share one root and working directory.
  if (::syscall(SYS_pivot_root, ".", ".") != 0) return fail_errno(context);
  undo.release();
  if (::umount2(".", MNT_DETACH) != 0 || ::chdir("/") != 0) return fail_errno(context);
  if (::mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | harmless, nullptr) != 0) return fail_errno(context);
  return {};
}

Result<Fd> open_folder_apart(const std::string& path) {
  Fd tree = clone_tree(path.c_str(), AT_RECURSIVE);
  if (!tree) return Fd::open(path, O_PATH | O_DIRECTORY);
  struct stat info {};
  if (::fstat(tree.get(), &info) != 0 || !S_ISDIR(info.st_mode)) return fail_errno(fmt::format("cannot open '{}'", path), ENOTDIR);
  return tree;
}

bool paths_lead_anywhere() { return !gave_up_paths; }
void give_up_paths() { gave_up_paths = true; }

void close_inherited_folders() {
  const std::unique_ptr<DIR, int (*)(DIR*)> list(::opendir("/proc/self/fd"), ::closedir);
  if (!list) return;
  std::vector<int> folders;
  while (const dirent* entry = ::readdir(list.get())) {
    const int fd = std::atoi(entry->d_name);
    struct stat info {};
    if (fd > STDERR_FILENO && fd != ::dirfd(list.get()) && ::fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)) folders.push_back(fd);
  }
  for (const int fd : folders) ::close(fd);
}

}  // namespace nagaya::host
