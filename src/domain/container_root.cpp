#include "domain/container_root.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "container/root/mounts.hpp"
#include "container/root/root.hpp"
#include "domain/container_users.hpp"
#include "domain/folder_lock.hpp"
#include "domain/user_space.hpp"

namespace nagaya::domain {
namespace {

Result<> fill_volume(const Container& container, const std::string& folder, const std::string& target) {
  TRY_ASSIGN(const host::Fd root, host::Fd::open(container.places.root(), O_PATH | O_DIRECTORY));
  const auto below = container::open_in_root(root.get(), target, false, false);
  struct stat info {};
  if (!below || ::fstat(below->get(), &info) != 0 || !S_ISDIR(info.st_mode)) return {};
  TRY_ASSIGN(const host::Fd place, host::Fd::open(folder, O_PATH | O_DIRECTORY));
  TRY(container::copy_up(below->get(), place.get()));
  if (::chown(folder.c_str(), info.st_uid, info.st_gid) != 0 || ::chmod(folder.c_str(), info.st_mode & 07777) != 0) {
    return fail_errno(fmt::format("cannot give the volume at '{}' its owner", target));
  }
  return {};
}

bool is_empty(const std::string& folder) {
  std::error_code error;
  return std::filesystem::is_empty(folder, error) && !error;
}

}  // namespace

Result<> separate_monitor() {
  if (::geteuid() != 0) {
    TRY(enter_user_namespace());
  } else if (::unshare(CLONE_NEWNS) != 0) {
    return fail_errno("cannot make a mount namespace", 0, "containers need CAP_SYS_ADMIN, or user namespaces");
  }
  if (::mount(nullptr, "/", nullptr, MS_SLAVE | MS_REC, nullptr) != 0) return fail_errno("cannot separate the monitor's mounts");
  return {};
}

Result<std::vector<ContainerVolume>> prepare_volumes(const ContainerStore& store, const Container& container, const image::OciConfig& image) {
  std::vector<ContainerVolume> out = container.definition.volumes;
  for (const std::string& target : image.volumes) {
    const bool given = std::ranges::any_of(out, [&](const ContainerVolume& volume) { return volume.target == target; });
    if (!given && target.starts_with('/') && target != "/") out.push_back({.source = {}, .target = target, .read_only = false, .options = {}});
  }
  for (ContainerVolume& volume : out) {
    if (volume.source.starts_with('/')) {
      if (::access(volume.source.c_str(), F_OK) != 0) return fail_errno(fmt::format("cannot find '{}' for '{}'", volume.source, volume.target));
      continue;
    }
    std::string folder;
    if (volume.source.empty()) {
      std::string name = volume.target.substr(1);
      std::ranges::replace(name, '/', '_');
      folder = container.places.volumes() + "/" + name;
      TRY(make_folders(folder));
    } else {
      TRY_ASSIGN(folder, store.volume(volume.source));
    }
    if (is_empty(folder)) {
      if (has_own_users(container.definition)) {
        TRY_ASSIGN(const ContainerUsers users, container_users(container));
        const bool as_inside = std::ranges::find(volume.options, "idmap") != volume.options.end();
        if (!as_inside && ::chown(folder.c_str(), users.first_uid, users.first_gid) != 0) return fail_errno(fmt::format("cannot give the volume at '{}' its owner", volume.target));
        if (!as_inside) TRY(fill_volume(container, folder, volume.target));
      } else {
        TRY(fill_volume(container, folder, volume.target));
      }
    }
    volume.source = std::move(folder);
  }
  return out;
}

}  // namespace nagaya::domain
