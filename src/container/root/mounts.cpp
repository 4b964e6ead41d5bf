#include "container/root/mounts.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

#include "container/root/kernel_mounts.hpp"
#include "container/root/resolve.hpp"

namespace nagaya::container {
namespace {

// Files of /proc that may be covered: what lxcfs and the like give, and nothing a runtime writes to.
constexpr std::array proc_files = {"/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo", "/proc/stat",     "/proc/swaps",
                                   "/proc/uptime",  "/proc/loadavg",   "/proc/slabinfo", "/proc/net/dev", "/proc/sys/crypto/fips_enabled",
                                   "/proc/sys/kernel/ns_last_pid", "/proc/pressure"};

/// In a user namespace the copy made inside comes first: what the host has forbidden on the mount (ro, nosuid …) is locked on it. The
/// copy made outside stands in where the path is closed to the namespace's root, or mounts lie below that it must not uncover.
Result<host::Fd> bind_tree(const RootRequest& request, const Mount& mount, const MountOptions& options, PreparedMount& prepared) {
  if (options.idmap && prepared.tree) return std::move(prepared.tree);
  if (mount.source.empty()) return fail("the bind has no source");
  auto tree = clone_tree(AT_FDCWD, bind_source(request, mount), options.recursive);
  if (!tree && prepared.tree && (tree.error().code == EACCES || tree.error().code == EINVAL)) return std::move(prepared.tree);
  if (!tree && !prepared.problem.empty()) tree.error().why += "; outside: " + prepared.problem;
  return tree;
}

bool is_procfs_root(int fd) {
  constexpr ino_t root_inode = 1;  // PROC_ROOT_INO, linux/proc_ns.h
  struct stat info {};
  return file_system_of(fd) == PROC_SUPER_MAGIC && ::fstat(fd, &info) == 0 && info.st_ino == root_inode;
}

bool has_own(const Spec& spec, NamespaceKind kind) {
  return std::ranges::any_of(spec.linux.namespaces, [kind](const Namespace& one) { return one.kind == kind; });
}

/// File systems with one state for all their mounts: their read-only flag is the mount's alone.
bool is_kernels_own(std::string_view type) {
  constexpr std::array<std::string_view, 5> types = {"proc", "sysfs", "tmpfs", "devpts", "mqueue"};
  return std::ranges::find(types, type) != types.end();
}

/// mount(2) takes options of any length, fsconfig(2) at most 255 bytes each (lowerdir= of many layers).
bool too_long(const MountOptions& options) {
  return std::ranges::any_of(options.data, [](const std::string& option) { return option.size() > 255; });
}

Result<> mount_the_old_way(const Mount& mount, const MountOptions& options, int target) {
  std::string data;
  for (const std::string& option : options.data) data += (data.empty() ? "" : ",") + option;
  const std::string place = "/proc/self/fd/" + std::to_string(target);
  if (::mount(mount.source.c_str(), place.c_str(), mount.type.c_str(), 0, data.c_str()) != 0) {
    return fail_errno("cannot mount a file system of type '" + mount.type + "'");
  }
  return {};
}

/// Where the kernel refuses a new instance to a user namespace, what the host has mounted is shown instead, as far as it may be.
Result<host::Fd> stand_in(const RootRequest& request, const Mount& mount, Error refused) {
  const bool helps = refused.code == EPERM || refused.code == EBUSY;
  const char* source = mount.type == "sysfs" ? "/sys" : mount.type == "mqueue" ? "/dev/mqueue" : nullptr;
  // The host's process numbers are right only where the container has no others.
  if (mount.type == "proc" && !has_own(*request.spec, NamespaceKind::pid)) source = "/proc";
  if (helps && source != nullptr && request.new_user_namespace) {
    TRY_ASSIGN(host::Fd tree, clone_tree(AT_FDCWD, source, true));
    // Below the host's /sys lie the host's cgroups (CVE-2023-25809).
    TRY(set_attributes(tree.get(), mount.type == "sysfs" ? MOUNT_ATTR_RDONLY : 0, 0, true));
    return tree;
  }
  if (helps && mount.type == "proc") {
    refused.hint = "a new /proc needs a PID namespace of the container's own, and a /proc of the host with nothing mounted over it";
  }
  return std::unexpected(std::move(refused));
}

Result<host::Fd> new_file_system(const RootRequest& request, const Mount& mount, const MountOptions& options, int target) {
  std::vector<std::string> data = options.data;
  if (!request.spec->linux.mount_label.empty() && mount.type != "proc" && mount.type != "sysfs" &&
      ::access("/sys/fs/selinux/enforce", F_OK) == 0) {
    data.push_back("context=" + request.spec->linux.mount_label);
  }
  struct stat covered {};
  if (mount.type == "tmpfs" && !options.has("mode") && ::fstat(target, &covered) == 0) {
    // A tmpfs looks like the folder it covers.
    char mode[16];
    std::snprintf(mode, sizeof mode, "mode=%o", covered.st_mode & 07777);
    data.emplace_back(mode);
  }
  // A disk that is read-only must not be opened for writing.
  if (options.read_only() && !is_kernels_own(mount.type)) data.emplace_back("ro");
  auto made = new_mount(mount.type, mount.source, data, options.set | options.set_recursive);
  if (!made && made.error().code == EINVAL && mount.type == "devpts" && request.new_user_namespace) {
    // The group "tty" may have no number in the user namespace.
    if (std::erase_if(data, [](const std::string& option) { return option.starts_with("gid="); }) != 0) {
      made = new_mount(mount.type, mount.source, data, options.set | options.set_recursive);
    }
  }
  if (!made) return stand_in(request, mount, std::move(made.error()));
  if (options.copy_up) TRY(copy_up(target, made->get()));
  return made;
}

Result<> set_all(int tree, const MountOptions& options, bool also_own) {
  if (also_own) TRY(set_attributes(tree, options.set, options.clear, false));
  TRY(set_attributes(tree, options.set_recursive, options.clear_recursive, true));
  for (const u64 flags : options.propagation) TRY(set_propagation(tree, flags));
  return {};
}

Result<> make_bind(const RootRequest& request, int root, const Mount& mount, const MountOptions& options, PreparedMount& prepared) {
  TRY_ASSIGN(const host::Fd tree, bind_tree(request, mount, options, prepared));
  if (clean_path(mount.destination) == "/proc" && !is_procfs_root(tree.get())) return fail_errno("/proc can only be a proc file system", EPERM);
  TRY(set_all(tree.get(), options, true));
  TRY_ASSIGN(const host::Fd target, mount_place(root, mount, !is_folder(tree.get())));
  return attach(tree.get(), target.get());
}

Result<> make_file_system(const RootRequest& request, int root, const Mount& mount, MountOptions options, std::vector<host::Fd>& read_only_later) {
  if (mount.type.empty() || mount.type == "none") return fail("the mount has no type");
  if (options.idmap) return fail("only binds can be idmapped");
  TRY_ASSIGN(const host::Fd target, mount_place(root, mount, false));
  // A read-only tmpfs still gets mount points, /dev its devices.
  const bool wait = options.read_only() && (mount.type == "tmpfs" || clean_path(mount.destination) == "/dev");
  if (wait) {
    options.set &= ~static_cast<u64>(MOUNT_ATTR_RDONLY);
    options.set_recursive &= ~static_cast<u64>(MOUNT_ATTR_RDONLY);
  }
  if (too_long(options)) {
    TRY(mount_the_old_way(mount, options, target.get()));
    TRY_ASSIGN(const host::Fd mounted, find_in_root(root, clean_path(mount.destination)));
    return set_all(mounted.get(), options, true);
  }
  TRY_ASSIGN(host::Fd made, new_file_system(request, mount, options, target.get()));
  for (const u64 flags : options.propagation) {
    // A new mount is private, and nobody's slave.
    if ((flags & (MS_SHARED | MS_UNBINDABLE)) != 0) TRY(set_propagation(made.get(), flags));
  }
  TRY(attach(made.get(), target.get()));
  if (wait) read_only_later.push_back(std::move(made));
  return {};
}

Result<> change_mount(int root, const Mount& mount, const MountOptions& options) {
  TRY_ASSIGN(const host::Fd mounted, find_in_root(root, clean_path(mount.destination)));
  return set_all(mounted.get(), options, true);
}

}  // namespace

std::string bind_source(const RootRequest& request, const Mount& mount) {
  return mount.source.starts_with('/') ? mount.source : request.bundle + "/" + mount.source;
}

Result<host::Fd> mount_place(int root, const Mount& mount, bool file) {
  const std::string path = clean_path(mount.destination);
  if (path == "/") return fail_errno("nothing can be mounted on the root itself", EINVAL);
  // A link here would make a later step write to another tree than the one it checked (CVE-2019-19921, CVE-2023-27561).
  if (mount.type == "proc" || mount.type == "sysfs") {
    auto plain = find_in_root(root, path, false);
    if (plain) {
      if (!is_folder(plain->get())) return fail_errno("'" + path + "' is not a folder", ENOTDIR);
      return plain;
    }
    if (plain.error().code == ELOOP) return fail("'" + path + "' is reached through a symbolic link", "a " + mount.type + " needs a plain folder");
  }
  TRY_ASSIGN(host::Fd target, open_in_root(root, path, true, file));
  if (file_system_of(target.get()) == PROC_SUPER_MAGIC && path != "/proc") {
    const bool known = std::ranges::any_of(proc_files, [&](const char* name) { return path == name; });
    if (!known) return fail_errno("'" + path + "' lies inside /proc", EPERM);
  }
  return target;
}

Result<> make_mount(const RootRequest& request, int root, const Mount& mount, PreparedMount& prepared, std::vector<host::Fd>& read_only_later) {
  const MountOptions options = parse_mount_options(mount);
  Result<> done;
  if (options.remount) {
    done = change_mount(root, mount, options);
  } else if (mount.type == "cgroup" || mount.type == "cgroup2") {
    done = mount_cgroups(request, root, mount, options);
  } else if (options.bind) {
    done = make_bind(request, root, mount, options, prepared);
  } else {
    done = make_file_system(request, root, mount, options, read_only_later);
  }
  if (!done) {
    const std::string what = mount.source.empty() ? mount.type : mount.source;
    return std::unexpected(std::move(done.error()).within("cannot mount '" + what + "' at '" + mount.destination + "'"));
  }
  return {};
}

}  // namespace nagaya::container
