#include "container/root/devices.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "container/root/kernel_mounts.hpp"
#include "container/root/mounts.hpp"
#include "container/root/resolve.hpp"

namespace nagaya::container {
namespace {

struct Usual {
  const char* path;
  unsigned minor;
  unsigned major = 1;
};
// config-linux.md "Default Devices"; /dev/console and /dev/ptmx are made elsewhere.
constexpr std::array usual_devices = {Usual{"/dev/null", 3},   Usual{"/dev/zero", 5},    Usual{"/dev/full", 7},
                                      Usual{"/dev/random", 8}, Usual{"/dev/urandom", 9}, Usual{"/dev/tty", 0, 5}};

constexpr std::array<std::pair<const char*, const char*>, 4> links = {{
    {"/proc/self/fd", "fd"},
    {"/proc/self/fd/0", "stdin"},
    {"/proc/self/fd/1", "stdout"},
    {"/proc/self/fd/2", "stderr"},
}};

mode_t kind_of(const Device& device) {
  switch (device.type) {
    case 'b': return S_IFBLK;
    case 'p': return S_IFIFO;
    default: return S_IFCHR;
  }
}

dev_t number_of(const Device& device) {
  return device.type == 'p' ? 0 : makedev(static_cast<unsigned>(device.major), static_cast<unsigned>(device.minor));
}

struct Place {
  host::Fd folder;
  std::string name;
};

Result<Place> place_of(int root, const std::string& path) {
  const std::string clean = clean_path(path);
  const std::size_t slash = clean.rfind('/');
  if (slash + 1 == clean.size()) return fail("'" + path + "' is no name for a device");
  TRY_ASSIGN(host::Fd folder, open_in_root(root, slash == 0 ? "/" : clean.substr(0, slash), true, false));
  return Place{std::move(folder), clean.substr(slash + 1)};
}

bool is_same(const Place& place, const Device& device) {
  struct stat info {};
  if (::fstatat(place.folder.get(), place.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return false;
  if ((info.st_mode & S_IFMT) != kind_of(device)) return false;
  return device.type == 'p' || info.st_rdev == number_of(device);
}

Result<> bind_device(const Place& place, const Device& device) {
  TRY_ASSIGN(const host::Fd tree, clone_tree(AT_FDCWD, device.path, false));
  struct stat info {};
  if (::fstat(tree.get(), &info) != 0 || (info.st_mode & S_IFMT) != kind_of(device) || (device.type != 'p' && info.st_rdev != number_of(device))) {
    return fail_errno("'" + device.path + "' of the host is another device", ENODEV);
  }
  const host::Fd made(::openat(place.folder.get(), place.name.c_str(), O_CREAT | O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0644));
  if (!made && errno != EEXIST && errno != EISDIR) return fail_errno("cannot make the place of '" + device.path + "'");
  const host::Fd target(::openat(place.folder.get(), place.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!target) return fail_errno("cannot open the place of '" + device.path + "'");
  return attach(tree.get(), target.get());
}

Result<> make_node(const Place& place, const Device& device) {
  const mode_t mode = device.file_mode.value_or(0666) & 07777;
  const dev_t number = number_of(device);
  int done = ::mknodat(place.folder.get(), place.name.c_str(), kind_of(device) | mode, number);
  if (done != 0 && errno == EEXIST) {
    if (!is_same(place, device)) {
      if (::unlinkat(place.folder.get(), place.name.c_str(), 0) != 0) return fail_errno("cannot replace '" + device.path + "'");
      done = ::mknodat(place.folder.get(), place.name.c_str(), kind_of(device) | mode, number);
    } else {
      done = ::fchmodat(place.folder.get(), place.name.c_str(), mode, 0);
    }
  }
  if (done != 0) return fail_errno("cannot make the device '" + device.path + "'");
  if ((device.uid != 0 || device.gid != 0) &&
      ::fchownat(place.folder.get(), place.name.c_str(), device.uid, device.gid, AT_SYMLINK_NOFOLLOW) != 0) {
    return fail_errno("cannot give the device '" + device.path + "' to its owner");
  }
  return {};
}

Result<> make_device(const RootRequest& request, const Place& place, const Device& device) {
  if (device.major < 0 || device.minor < 0) return fail("device '" + device.path + "' has a number below zero");
  if (request.new_user_namespace) return bind_device(place, device);
  auto made = make_node(place, device);
  // Already inside somebody's user namespace.
  if (!made && made.error().code == EPERM) return bind_device(place, device);
  return made;
}

bool binds_dev(const Spec& spec) {
  return std::ranges::any_of(spec.mounts, [](const Mount& mount) {
    return clean_path(mount.destination) == "/dev" && parse_mount_options(mount).bind;
  });
}

}  // namespace

Result<> make_devices(const RootRequest& request, int root) {
  const Spec& spec = *request.spec;
  if (binds_dev(spec)) return {};
  TRY_ASSIGN(host::Fd folder, open_in_root(root, "/dev", true, false));
  Place dev{std::move(folder), ""};
  for (const Usual& usual : usual_devices) {
    // The configuration's own word about one of them comes instead.
    if (std::ranges::any_of(spec.linux.devices, [&](const Device& device) { return clean_path(device.path) == usual.path; })) continue;
    dev.name = usual.path + sizeof "/dev";
    TRY(make_device(request, dev, {.type = 'c', .path = usual.path, .major = usual.major, .minor = usual.minor, .file_mode = 0666}));
  }
  for (const Device& device : spec.linux.devices) {
    TRY_ASSIGN(const Place place, place_of(root, device.path));
    TRY(make_device(request, place, device));
  }
  for (const auto& [target, name] : links) {
    if (::symlinkat(target, dev.folder.get(), name) != 0 && errno != EEXIST) return fail_errno(std::string("cannot make the link /dev/") + name);
  }
  if (::access("/proc/kcore", F_OK) == 0) (void)::symlinkat("/proc/kcore", dev.folder.get(), "core");
  // The multiplexer of the container's own devpts, whatever an image has under this name.
  if (::faccessat(dev.folder.get(), "pts", F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
    (void)::unlinkat(dev.folder.get(), "ptmx", 0);
    if (::symlinkat("pts/ptmx", dev.folder.get(), "ptmx") != 0 && errno != EEXIST) return fail_errno("cannot make the link /dev/ptmx");
  }
  if (spec.process && spec.process->terminal) TRY(open_in_root(root, "/dev/console", true, true));
  return {};
}

}  // namespace nagaya::container
