#include "init/root.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "init/files.hpp"

namespace nagaya::init {
namespace {

constexpr const char* place = "/root-disk";

/// Frees the RAM disk's memory: all on its own device, mounts stay.
void remove_below(const std::filesystem::path& folder, dev_t device) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    struct stat info {};
    if (::lstat(entry.path().c_str(), &info) != 0 || info.st_dev != device) continue;
    if (S_ISDIR(info.st_mode)) remove_below(entry.path(), device);
    (void)std::filesystem::remove(entry.path(), ignored);
  }
}

}  // namespace

Result<> mount_basics() {
  TRY(mount_at("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755"));
  TRY(mount_at("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC));
  return mount_at("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC);
}

Result<> mount_root(const RootOptions& options) {
  if (!options.device.starts_with("/dev/")) return fail("root=" + options.device, "only names of devices are known here", "root=/dev/vda");
  // A disk may come a little after its driver.
  constexpr unsigned patience_ms = 10'000, step_ms = 5;
  for (unsigned waited = 0; ::access(options.device.c_str(), F_OK) != 0; waited += step_ms) {
    if (waited >= patience_ms) return fail("cannot mount " + options.device, "there is no such disk", "root= names the disk");
    ::usleep(step_ms * 1000);
  }
  return mount_at(options.device, place, options.type, options.read_only ? MS_RDONLY : 0, options.flags);
}

Result<> enter_root() {
  for (const char* name : {"/dev", "/proc", "/sys"}) {
    const std::string to = place + std::string(name);
    if (::mount(name, to.c_str(), nullptr, MS_MOVE, nullptr) == 0) continue;
    TRY(make_folder(to));
    if (::mount(name, to.c_str(), nullptr, MS_MOVE, nullptr) != 0) return fail_errno("cannot move " + std::string(name));
  }
  struct stat info {};
  if (::stat("/", &info) != 0) return fail_errno("cannot read /");
  remove_below("/", info.st_dev);
  if (::chdir(place) != 0 || ::mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 || ::chroot(".") != 0 || ::chdir("/") != 0) {
    return fail_errno("cannot enter the root file system");
  }
  return {};
}

}  // namespace nagaya::init
