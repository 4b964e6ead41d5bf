#include "container/root/hidden_paths.hpp"

#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <string_view>

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

/// A path of mountinfo, whose blanks are written as "\040" (proc_pid_mountinfo(5)).
std::string plain(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

/// Where procfs and sysfs are mounted outside of `rootfs`, the innermost last.
Result<std::vector<std::string>> kernel_mounts_outside(const std::string& rootfs) {
  constexpr u64 most = 16 * MiB;
  TRY_ASSIGN(const auto bytes, host::read_file("/proc/self/mountinfo", most));
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::vector<std::string> out;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const std::size_t dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    const std::string_view type = line.substr(dash + 3);
    if (!type.starts_with("proc ") && !type.starts_with("sysfs ")) continue;
    std::size_t from = 0;
    for (int field = 0; field < 4; ++field) from = line.find(' ', from) + 1;
    const std::string point = plain(line.substr(from, line.find(' ', from) - from));
    if (!(point + "/").starts_with(rootfs + "/")) out.push_back(point);
  }
  return out;
}

}  // namespace

Result<> hide_kernel_mounts(int root) {
  std::array<char, PATH_MAX> path{};
  if (::readlink(("/proc/self/fd/" + std::to_string(root)).c_str(), path.data(), path.size() - 1) < 0) return fail_errno("cannot name the root");
  TRY_ASSIGN(const auto points, kernel_mounts_outside(path.data()));
  for (auto point = points.rbegin(); point != points.rend(); ++point) {
    (void)::mount(nullptr, point->c_str(), nullptr, MS_PRIVATE, nullptr);
    if (::umount2(point->c_str(), MNT_DETACH) == 0 || errno == ENOENT) continue;
    // A mount that came from another user namespace cannot be taken away.
    if (::mount("tmpfs", point->c_str(), "tmpfs", MS_RDONLY, "mode=0") != 0) return fail_errno("cannot hide the host's '" + *point + "'");
  }
  return {};
}

Result<HiddenPlaces> HiddenPlaces::make(int root, const std::vector<Mount>& mounts) {
  HiddenPlaces out;
  out.root_ = root;
  const auto open_kernels = [&](const char* path, const char* type, long magic) -> Result<host::Fd> {
    auto found = find_in_root(root, path, false);
    if (found && file_system_of(found->get()) == magic) return found;
    const bool mounted = std::ranges::any_of(mounts, [&](const Mount& one) { return one.type == type && clean_path(one.destination) == path; });
    if (mounted) return fail(std::string("the ") + type + " at '" + path + "' is no longer there", "somebody renames folders of the root");
    return host::Fd();
  };
  TRY_ASSIGN(out.proc_, open_kernels("/proc", "proc", PROC_SUPER_MAGIC));
  TRY_ASSIGN(out.sys_, open_kernels("/sys", "sysfs", SYSFS_MAGIC));
  return out;
}

Result<host::Fd> HiddenPlaces::find(const std::string& path) const {
  const std::string clean = clean_path(path);
  if (proc_ && clean.starts_with("/proc/")) return find_in_root(proc_.get(), clean.substr(sizeof "/proc" - 1));
  if (sys_ && clean.starts_with("/sys/")) return find_in_root(sys_.get(), clean.substr(sizeof "/sys" - 1));
  return find_in_root(root_, clean);
}

Result<> protect_paths(const HiddenPlaces& places, const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    auto place = places.find(path);
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

Result<> mask_paths(const HiddenPlaces& places, const std::vector<std::string>& paths) {
  // One empty file system covers all folders: the first is mounted, the others are copies of it (copies of what is mounted nowhere need
  // Linux 6.15).
  host::Fd null, empty;
  for (const std::string& path : paths) {
    auto place = places.find(path);
    if (!place && absent(place.error())) continue;
    if (!place) return std::unexpected(std::move(place.error()).within("cannot mask '" + path + "'"));
    auto mask = [&]() -> Result<> {
      const bool folder = is_folder(place->get());
      if (folder && !empty) {
        constexpr u64 attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
        TRY_ASSIGN(empty, new_mount("tmpfs", "tmpfs", {"size=4k", "nr_inodes=1", "ro"}, attributes));
        return attach(empty.get(), place->get());
      }
      host::Fd& source = folder ? empty : null;
      if (!source) {
        TRY_ASSIGN(source, null_device(places.root()));
      }
      TRY_ASSIGN(const host::Fd tree, clone_tree(source.get(), "", false));
      return attach(tree.get(), place->get());
    };
    if (auto done = mask(); !done) return std::unexpected(std::move(done.error()).within("cannot mask '" + path + "'"));
  }
  return {};
}

}  // namespace nagaya::container
