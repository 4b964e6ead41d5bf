#include "domain/container_storage.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>

#include "base/log.hpp"
#include "container/id_map.hpp"
#include "container/root/kernel_mounts.hpp"
#include "container/root/mounts.hpp"
#include "container/root/root.hpp"
#include "domain/container_users.hpp"
#include "domain/folder_lock.hpp"
#include "host/process.hpp"
#include "image/unpack.hpp"

namespace nagaya::domain {
namespace {

constexpr long fuse_magic = 0x65735546;  // FUSE_SUPER_MAGIC, statfs(2)
constexpr int fuse_patience_ms = 5'000, fuse_step_ms = 5;

std::string joined_layers(const std::vector<std::string>& folders) {
  std::string out;
  for (auto it = folders.rbegin(); it != folders.rend(); ++it) out += (it == folders.rbegin() ? "" : ":") + *it;
  return out;
}

/// The upper folder, with the root's own mode: what the image's lowest layer says is shown only when the upper folder agrees.
Result<> make_upper(const Container& container, const ContainerLayers& layers) {
  if (layers.folders.empty()) return fail("the image's layers are not unpacked for an overlay", "this host or its file system refused that");
  // What overlayfs keeps there is of the mount before, and a volatile one would not be mounted again.
  std::error_code ignored;
  std::filesystem::remove_all(container.places.work(), ignored);
  for (const std::string& folder : {container.places.upper(), container.places.work()}) TRY(make_folders(folder));
  struct stat top {};
  if (::stat(layers.folders.back().c_str(), &top) == 0) (void)::chmod(container.places.upper().c_str(), top.st_mode & 07777);
  return {};
}

/// Options of overlayfs; `lowerdir+` adds one layer at a time, the uppermost first (Linux 6.8).
Result<host::Fd> new_overlay(const Container& container, const ContainerLayers& layers) {
  std::vector<std::string> options;
  for (auto it = layers.folders.rbegin(); it != layers.folders.rend(); ++it) options.push_back("lowerdir+=" + *it);
  options.push_back("upperdir=" + container.places.upper());
  options.push_back("workdir=" + container.places.work());
  if (::geteuid() == 0 && container::rootless()) options.push_back("userxattr");
  // What goes away at its end need not reach the disk first.
  if (container.definition.remove) options.push_back("volatile");
  return container::new_mount("overlay", "overlay", options, 0);
}

/// The layers as the container's own users see them: id-mapped mounts in our mount namespace, for as long as it takes to mount an overlay of
/// them. The upper folder is no such mount: overlayfs makes its own files there, as root of the host.
class MappedLayers {
 public:
  Result<ContainerLayers> make(const Container& container, const ContainerLayers& layers) {
    TRY_ASSIGN(const ContainerUsers users, container_users(container));
    TRY_ASSIGN(const host::Fd space, container::user_namespace(users.uid_maps(), users.gid_maps()));
    ContainerLayers out = layers;
    for (std::string& folder : out.folders) {
      TRY_ASSIGN(const host::Fd tree, container::clone_tree(AT_FDCWD, folder, false));
      mount_attr map{};
      map.attr_set = MOUNT_ATTR_IDMAP;
      map.userns_fd = static_cast<u64>(space.get());
      if (::syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH, &map, sizeof map) != 0) {
        return fail_errno("cannot show the image's files as the container's own users'", 0, "the image folder's file system must support id-mapped mounts (Linux 5.12), and overlayfs above it (5.19)");
      }
      folder = fmt::format("{}/layers/{}", container.places.runtime, places_.size());
      TRY(make_folders(folder));
      TRY_ASSIGN(const host::Fd place, host::Fd::open(folder, O_PATH | O_DIRECTORY));
      TRY(container::attach(tree.get(), place.get()));
      places_.push_back(folder);
    }
    // The root's own folder is the container's root's.
    struct stat top {};
    if (::stat(layers.folders.back().c_str(), &top) == 0 &&
        ::chown(container.places.upper().c_str(), users.first_uid + top.st_uid, users.first_gid + top.st_gid) != 0) {
      return fail_errno("cannot give the container's folder to its root");
    }
    return out;
  }
  ~MappedLayers() {
    for (const std::string& place : places_) (void)::umount2(place.c_str(), MNT_DETACH);
  }

 private:
  std::vector<std::string> places_;
};

Result<> overlay(const Container& container, const ContainerLayers& given) {
  TRY(make_upper(container, given));
  MappedLayers mapped;
  ContainerLayers layers = given;
  if (has_own_users(container.definition)) {
    TRY_ASSIGN(layers, mapped.make(container, given));
  }
  if (auto made = new_overlay(container, layers)) {
    TRY_ASSIGN(const host::Fd place, host::Fd::open(container.places.root(), O_PATH | O_DIRECTORY));
    return container::attach(made->get(), place.get());
  }
  // Older kernels take all layers as one option.
  std::string data = fmt::format("lowerdir={},upperdir={},workdir={}", joined_layers(layers.folders), container.places.upper(), container.places.work());
  if (container::rootless()) data += ",userxattr";
  if (::mount("overlay", container.places.root().c_str(), "overlay", 0, data.c_str()) != 0) {
    return fail_errno("cannot mount the container's root by overlayfs", 0, "modprobe overlay, or leave the choice of --storage-driver to us");
  }
  return {};
}

/// The program serves the root as long as its parent, the monitor, lives. It writes through: nothing is lost when it is killed then.
Result<> fuse_overlay(const Container& container, const ContainerLayers& layers) {
  TRY(make_upper(container, layers));
  TRY(host::Fd::open("/dev/fuse", O_RDWR));
  TRY_ASSIGN(host::Process server, host::Process::spawn({.program = "fuse-overlayfs",
                                                         .args = {"-f", "-o", fmt::format("lowerdir={},upperdir={},workdir={},writeback=0", joined_layers(layers.folders),
                                                                                          container.places.upper(), container.places.work()),
                                                                  container.places.root()}}));
  for (int waited = 0; waited < fuse_patience_ms; waited += fuse_step_ms) {
    struct statfs info {};
    if (::statfs(container.places.root().c_str(), &info) == 0 && info.f_type == fuse_magic) {
      (void)server.release();
      return {};
    }
    pollfd wait{server.fd(), POLLIN, 0};
    if (::poll(&wait, 1, fuse_step_ms) > 0) {
      TRY_ASSIGN(const host::ExitStatus status, server.wait());
      return fail("fuse-overlayfs does not serve the container's root", fmt::format("it ended with {}", status.shell_status()));
    }
  }
  return fail("fuse-overlayfs does not serve the container's root", "it does not begin");
}

/// What was put into the upper folder before the first start (see run_container) goes over the copy: one file.
Result<> copy_own_fstab(const Container& container, const std::string& folder) {
  const auto text = host::read_file(container.places.upper() + "/etc/fstab", 64 * KiB);
  if (!text) return {};
  TRY_ASSIGN(const host::Fd root, host::Fd::open(folder, O_PATH | O_DIRECTORY));
  TRY_ASSIGN(const host::Fd etc, container::open_in_root(root.get(), "/etc", true, false));
  if (::unlinkat(etc.get(), "fstab", 0) != 0 && errno != ENOENT) return fail_errno("cannot replace the container's fstab");
  const host::Fd file(::openat(etc.get(), "fstab", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
  if (!file) return fail_errno("cannot make the container's fstab");
  return host::write_all(file.get(), std::span<const u8>(*text));
}

/// All layers over one another in a folder of the container's own, made aside: what is found after a kill is whole.
Result<> make_copy(const Container& container, const ContainerLayers& layers) {
  namespace fs = std::filesystem;
  const std::string aside = container.places.copy() + ".new";
  std::error_code error;
  fs::remove_all(aside, error);
  if (::mkdir(aside.c_str(), 0755) != 0) return fail_errno(fmt::format("cannot make '{}'", aside));
  for (const std::string& archive : layers.archives) {
    const image::UnpackOptions options{.whiteouts = layers.whiteouts, .user_namespace = container::rootless(), .onto_lower = true};
    TRY(image::unpack_layer(archive, aside, options, {}));
  }
  TRY(copy_own_fstab(container, aside));
  if (::rename(aside.c_str(), container.places.copy().c_str()) != 0) return fail_errno("cannot keep the copy of the image");
  return {};
}

Result<> copy(const Container& container, const ContainerLayers& layers) {
  if (::access(container.places.copy().c_str(), F_OK) != 0) TRY(make_copy(container, layers));
  if (::mount(container.places.copy().c_str(), container.places.root().c_str(), nullptr, MS_BIND, nullptr) != 0) return fail_errno("cannot mount the container's copy of the image");
  return {};
}

struct Driver {
  std::string_view name;
  Result<> (*mount)(const Container&, const ContainerLayers&);
};
// In the order in which they are tried.
constexpr std::array drivers = {Driver{"overlay", overlay}, Driver{"fuse-overlayfs", fuse_overlay}, Driver{"vfs", copy}};

}  // namespace

bool is_storage_driver(std::string_view name) { return std::ranges::find(drivers, name, &Driver::name) != drivers.end(); }

std::string storage_driver(const Container& container) {
  // One that is not made yet has no folder.
  const auto kept = container.places.folder.empty() ? Result<std::vector<u8>>() : host::read_file(container.places.storage(), 64);
  if (kept) {
    const std::string name(kept->begin(), kept->end());
    if (is_storage_driver(name)) return name;
  }
  return container.definition.storage_driver;
}

Result<> mount_root(const Container& container, const ContainerLayers& layers) {
  if (layers.archives.empty()) return fail(fmt::format("image '{}' has no layers", container.definition.image_name), "only machines can be made of it");
  TRY(make_folders(container.places.root()));
  const std::string wanted = storage_driver(container);
  std::string refused;
  for (const Driver& driver : drivers) {
    if (!wanted.empty() && driver.name != wanted) continue;
    // Only the kernel shows layers with other owners.
    if (has_own_users(container.definition) && driver.name != "overlay") continue;
    if (auto mounted = driver.mount(container, layers); !mounted) {
      if (!wanted.empty()) return std::unexpected(std::move(mounted.error()).within(fmt::format("storage driver '{}'", driver.name)));
      log::debug("container '{}': storage driver '{}': {}", container.definition.name, driver.name, mounted.error().message());
      refused += (refused.empty() ? "" : "; ") + mounted.error().message();
      continue;
    }
    log::debug("container '{}': its root is mounted by storage driver '{}'", container.definition.name, driver.name);
    return host::replace_file(container.places.storage(), std::span(reinterpret_cast<const u8*>(driver.name.data()), driver.name.size()));
  }
  if (refused.empty()) refused = fmt::format("storage driver '{}' cannot show the image's files as a container's own users'", wanted);
  return fail("cannot make the container's root", std::move(refused));
}

}  // namespace nagaya::domain
