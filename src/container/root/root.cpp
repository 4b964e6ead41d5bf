#include "container/root/root.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>

#include "base/scope.hpp"
#include "container/root/devices.hpp"
#include "container/root/hidden_paths.hpp"
#include "container/root/kernel_mounts.hpp"
#include "container/root/mounts.hpp"
#include "container/root/resolve.hpp"

namespace nagaya::container {
namespace {

std::string root_path(const RootRequest& request) {
  const std::string& path = request.spec->root_path;
  return path.starts_with('/') ? path : request.bundle + "/" + path;
}

/// pivot_root wants the mount above the new root unshared, else the change would travel to the host.
Result<> make_parent_private(std::string path) {
  for (;; path = path.substr(0, path.rfind('/'))) {
    struct statx info {};
    const char* place = path.empty() ? "/" : path.c_str();
    if (::statx(AT_FDCWD, place, AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &info) != 0) return fail_errno(std::string("cannot look at '") + place + "'");
    if ((info.stx_attributes & STATX_ATTR_MOUNT_ROOT) == 0 && !path.empty()) continue;
    if (::mount(nullptr, place, nullptr, MS_PRIVATE, nullptr) != 0) return fail_errno(std::string("cannot make '") + place + "' private");
    return {};
  }
}

Result<> separate_from_host(const RootRequest& request) {
  const std::string& name = request.spec->linux.rootfs_propagation;
  const u64 wanted = propagation_flags(name);
  if (wanted == 0 && !name.empty()) return fail("linux.rootfsPropagation is '" + name + "'", "no kind of propagation");
  // Whatever the container's own root becomes, what it mounts does not travel to the host unless it was asked for.
  const u64 flags = (wanted & MS_SHARED) != 0 ? MS_SHARED | MS_REC : wanted != 0 && (wanted & MS_UNBINDABLE) == 0 ? wanted | MS_REC : MS_SLAVE | MS_REC;
  if ((flags & MS_SHARED) == 0 && ::mount(nullptr, "/", nullptr, flags, nullptr) != 0) {
    return fail_errno("cannot separate the container's mounts from the host's");
  }
  return (flags & MS_SHARED) != 0 ? make_parent_private(root_path(request)) : Result<>();
}

Result<> pivot(const host::Fd& root, bool shared) {
  if (::fchdir(root.get()) != 0) return fail_errno("cannot enter the root");
  // With "." for both, the old root ends up over the new one, where it can be taken away without a folder for it.
  if (::syscall(SYS_pivot_root, ".", ".") != 0) return fail_errno("cannot make the root the root", 0, "a root on a RAM disk needs --no-pivot");
  // The working directory is the old root now: its end must not reach the host's own mounts.
  if (shared && ::mount(nullptr, ".", nullptr, MS_SLAVE | MS_REC, nullptr) != 0) return fail_errno("cannot part from the host's mounts");
  if (::umount2(".", MNT_DETACH) != 0) return fail_errno("cannot detach the host's root");
  return {};
}

Result<> move_and_chroot(const host::Fd& root) {
  TRY(hide_kernel_mounts(root.get()));
  if (::fchdir(root.get()) != 0) return fail_errno("cannot enter the root");
  if (::mount(".", "/", nullptr, MS_MOVE, nullptr) != 0) return fail_errno("cannot move the root");
  if (::chroot(".") != 0) return fail_errno("cannot make the root the root");
  return {};
}

Result<host::Fd> outside_tree(const RootRequest& request, const Mount& mount, const MountOptions& options) {
  TRY_ASSIGN(host::Fd tree, clone_tree(AT_FDCWD, bind_source(request, mount), options.recursive));
  // A copy of a shared mount is its peer; inside it shall only follow.
  TRY(set_propagation(tree.get(), MS_SLAVE | MS_REC));
  if (!options.idmap) return tree;
  const Linux& config = request.spec->linux;
  const bool own = !mount.uid_mappings.empty() || !mount.gid_mappings.empty();
  TRY_ASSIGN(const host::Fd space, user_namespace(own ? mount.uid_mappings : config.uid_mappings, own ? mount.gid_mappings : config.gid_mappings));
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_IDMAP;
  attributes.userns_fd = static_cast<u64>(space.get());
  const unsigned flags = AT_EMPTY_PATH | (options.idmap_recursive ? AT_RECURSIVE : 0u);
  if (::mount_setattr(tree.get(), "", flags, &attributes, sizeof attributes) != 0) {
    return fail_errno("cannot map the owners of '" + mount.source + "'", 0, "its file system may not support idmapped mounts");
  }
  return tree;
}

}  // namespace

Result<std::vector<PreparedMount>> prepare_mounts(const RootRequest& request) {
  const Spec& spec = *request.spec;
  std::vector<PreparedMount> out(spec.mounts.size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    const MountOptions options = parse_mount_options(spec.mounts[i]);
    if (!options.bind || !(request.new_user_namespace || options.idmap)) continue;
    auto tree = outside_tree(request, spec.mounts[i], options);
    if (tree) {
      out[i].tree = std::move(*tree);
    } else if (options.idmap) {
      return std::unexpected(std::move(tree.error()).within("cannot prepare the mount at '" + spec.mounts[i].destination + "'"));
    } else {
      out[i].problem = tree.error().message();
    }
  }
  if (request.new_user_namespace && request.new_mount_namespace) {
    // Its root may lie where only the host's root may look.
    PreparedMount& root = out.emplace_back();
    if (auto tree = clone_tree(AT_FDCWD, root_path(request), true, false); tree && set_propagation(tree->get(), MS_SLAVE | MS_REC)) root.tree = std::move(*tree);
  }
  return out;
}

Result<host::Fd> build_root(const RootRequest& request, std::vector<PreparedMount>& prepared) {
  const Spec& spec = *request.spec;
  const std::string path = root_path(request);
  if (!request.new_mount_namespace) {
    if (!spec.mounts.empty()) return fail("mounts need a mount namespace of the container's own", "the configuration asks for none");
    return host::Fd::open(path, O_PATH | O_DIRECTORY);
  }
  const mode_t before = ::umask(0);
  const ScopeExit restore([before] { ::umask(before); });
  TRY(separate_from_host(request));
  auto cloned = clone_tree(AT_FDCWD, path, true, false);
  const bool hidden = !cloned && cloned.error().code == EACCES && prepared.size() > spec.mounts.size() && prepared.back().tree;
  if (hidden) cloned = std::move(prepared.back().tree);
  TRY_ASSIGN(host::Fd root, std::move(cloned));
  if (!is_folder(root.get())) return fail("the root '" + path + "' is not a folder");
  const bool shared = (propagation_flags(spec.linux.rootfs_propagation) & MS_SHARED) != 0;
  // A copy of a shared mount is its peer: what is mounted in it would appear on the host. enter_root makes it shared again, alone.
  if (shared) TRY(set_propagation(root.get(), MS_PRIVATE));
  {
    // On the host's root where its own place cannot be reached: whoever looks up a path from there still begins below.
    TRY_ASSIGN(const host::Fd place, host::Fd::open(hidden ? "/" : path, O_PATH | O_DIRECTORY | O_NOFOLLOW));
    if (auto done = attach(root.get(), place.get()); !done) return std::unexpected(std::move(done.error()).within("cannot mount the root '" + path + "'"));
  }
  std::vector<host::Fd> read_only_later;
  for (std::size_t i = 0; i < spec.mounts.size(); ++i) TRY(make_mount(request, root.get(), spec.mounts[i], prepared[i], read_only_later));
  TRY(make_devices(request, root.get()));
  for (const host::Fd& one : read_only_later) TRY(set_attributes(one.get(), MOUNT_ATTR_RDONLY, 0, false));
  return root;
}

Result<> enter_root(const RootRequest& request, const host::Fd& root) {
  const Spec& spec = *request.spec;
  if (!request.new_mount_namespace) {
    if (::fchdir(root.get()) != 0 || ::chroot(".") != 0) return fail_errno("cannot make the root the root");
    return ::chdir("/") == 0 ? Result<>() : Result<>(fail_errno("cannot enter the root"));
  }
  const u64 propagation = propagation_flags(spec.linux.rootfs_propagation);
  TRY(request.no_pivot ? move_and_chroot(root) : pivot(root, (propagation & MS_SHARED) != 0));
  if (::chdir("/") != 0) return fail_errno("cannot enter the root");
  if (propagation != 0 && ::mount(nullptr, "/", nullptr, propagation, nullptr) != 0) return fail_errno("cannot set the root's propagation");
  TRY_ASSIGN(const host::Fd here, host::Fd::open("/", O_PATH | O_DIRECTORY));
  if (!spec.linux.readonly_paths.empty() || !spec.linux.masked_paths.empty()) {
    TRY_ASSIGN(const HiddenPlaces places, HiddenPlaces::make(here.get(), spec.mounts));
    TRY(protect_paths(places, spec.linux.readonly_paths));
    TRY(mask_paths(places, spec.linux.masked_paths));
  }
  if (spec.root_readonly) TRY(set_attributes(here.get(), MOUNT_ATTR_RDONLY, 0, false));
  return {};
}

Result<> bind_console(int slave) {
  TRY_ASSIGN(const host::Fd here, host::Fd::open("/", O_PATH | O_DIRECTORY));
  TRY_ASSIGN(const host::Fd place, find_in_root(here.get(), "/dev/console", false));
  struct stat info {};
  if (::fstat(slave, &info) != 0 || !S_ISCHR(info.st_mode) || major(info.st_rdev) != 136) return fail("the terminal is no pseudo-terminal");
  TRY_ASSIGN(const host::Fd tree, clone_tree(slave, "", false));
  return attach(tree.get(), place.get());
}

}  // namespace nagaya::container
