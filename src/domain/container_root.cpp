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

#include "container/id_map.hpp"
#include "container/root/kernel_mounts.hpp"
#include "container/root/mounts.hpp"
#include "container/root/root.hpp"
#include "domain/folder_lock.hpp"
#include "domain/user_space.hpp"

namespace nagaya::domain {
namespace {

/// Options of overlayfs; `lowerdir+` adds one layer at a time, the uppermost first (Linux 6.8).
Result<host::Fd> overlay(const Container& container, const std::vector<std::string>& layers) {
  std::vector<std::string> options;
  for (auto it = layers.rbegin(); it != layers.rend(); ++it) options.push_back("lowerdir+=" + *it);
  options.push_back("upperdir=" + container.places.upper());
  options.push_back("workdir=" + container.places.work());
  if (::geteuid() == 0 && container::rootless()) options.push_back("userxattr");
  // What goes away at its end need not reach the disk first.
  if (container.definition.remove) options.push_back("volatile");
  return container::new_mount("overlay", "overlay", options, 0);
}

Result<> classic_overlay(const Container& container, const std::vector<std::string>& layers) {
  std::string data = "lowerdir=";
  for (auto it = layers.rbegin(); it != layers.rend(); ++it) data += (it == layers.rbegin() ? "" : ":") + *it;
  data += ",upperdir=" + container.places.upper() + ",workdir=" + container.places.work();
  if (container::rootless()) data += ",userxattr";
  if (::mount("overlay", container.places.root().c_str(), "overlay", 0, data.c_str()) != 0) {
    return fail_errno("cannot mount the container's root", 0, "overlayfs is needed: modprobe overlay");
  }
  return {};
}

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

Result<> mount_root(const Container& container, const std::vector<std::string>& layers) {
  if (layers.empty()) return fail(fmt::format("image '{}' has no layers", container.definition.image_name), "only machines can be made of it");
  for (const std::string& folder : {container.places.upper(), container.places.work(), container.places.root()}) TRY(make_folders(folder));
  // The root's own mode: what the image's lowest layer says is shown only when the upper folder agrees.
  struct stat lowest {};
  if (::stat(layers.back().c_str(), &lowest) == 0) (void)::chmod(container.places.upper().c_str(), lowest.st_mode & 07777);
  auto made = overlay(container, layers);
  if (!made) return classic_overlay(container, layers);
  TRY_ASSIGN(const host::Fd place, host::Fd::open(container.places.root(), O_PATH | O_DIRECTORY));
  return container::attach(made->get(), place.get());
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
    if (is_empty(folder)) TRY(fill_volume(container, folder, volume.target));
    volume.source = std::move(folder);
  }
  return out;
}

}  // namespace nagaya::domain
