#include "container/root/hidden_paths.hpp"

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>

#include "container/root/kernel_mounts.hpp"
#include "container/root/resolve.hpp"

namespace nagaya::container {
namespace {

bool absent(const Error& error) { return error.code == ENOENT || error.code == ENOTDIR; }

/// The container's own /dev/null, which is nothing else: a container that put a link to a file there would get it mounted where it can
/// write (CVE-2025-31133).
Result<host::Fd> null_device(int root) {
  TRY_ASSIGN(host::Fd fd, find_in_root(root, "/dev/null", false));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0 || !S_ISCHR(info.st_mode) || info.st_rdev != makedev(1, 3)) {
    return fail("'/dev/null' of the container is not the null device");
  }
  return fd;
}

}  // namespace

Result<> protect_paths(int root, const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    auto place = find_in_root(root, path);
    if (!place && absent(place.error())) continue;
    if (!place) return std::unexpected(std::move(place.error()).within("cannot make '" + path + "' read-only"));
    auto protect = [&]() -> Result<> {
      TRY_ASSIGN(const host::Fd tree, clone_tree(place->get(), "", true));
      TRY(set_attributes(tree.get(), MOUNT_ATTR_RDONLY, 0, true));
      return attach(tree.get(), place->get());
    };
    if (auto done = protect(); !done) return std::unexpected(std::move(done.error()).within("cannot make '" + path + "' read-only"));
  }
  return {};
}

Result<> mask_paths(int root, const std::vector<std::string>& paths) {
  host::Fd null, empty;
  for (const std::string& path : paths) {
    auto place = find_in_root(root, path);
    if (!place && absent(place.error())) continue;
    if (!place) return std::unexpected(std::move(place.error()).within("cannot mask '" + path + "'"));
    auto mask = [&]() -> Result<> {
      const bool folder = is_folder(place->get());
      host::Fd& source = folder ? empty : null;
      if (!source && folder) {
        TRY_ASSIGN(source, new_mount("tmpfs", "tmpfs", {"size=4k", "nr_inodes=1"}, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
      } else if (!source) {
        TRY_ASSIGN(source, null_device(root));
      }
      TRY_ASSIGN(const host::Fd tree, clone_tree(source.get(), "", false));
      return attach(tree.get(), place->get());
    };
    if (auto done = mask(); !done) return std::unexpected(std::move(done.error()).within("cannot mask '" + path + "'"));
  }
  return {};
}

}  // namespace nagaya::container
