#include "vmm/jail.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "base/log.hpp"
#include "host/thread.hpp"

namespace nagaya::vmm {
namespace {

/// The folder that holds the socket of a socket device, and those that its guest connects to.
constexpr const char* vsock_folder = "vsock";

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}
std::string name_in_folder(const std::string& path) { return path.substr(path.rfind('/') + 1); }

constexpr host::Capabilities bit(unsigned capability) { return host::Capabilities{1} << capability; }

/// What the C library would read of the host when it first needs it: the time zone, and for the number of its heaps that of the
/// processors. What it takes by itself on 64 bits is eight for each.
void wake_library() {
  ::tzset();
  (void)::mallopt(M_ARENA_MAX, static_cast<int>(8 * host::usable_cpus()));
}

}  // namespace

JailNeeds JailNeeds::of(const proto::VmConfig& config) {
  return {.shares = !config.shares.empty(),
          .writable_shares = std::ranges::any_of(config.shares, [](const auto& share) { return !share.read_only; }),
          .vsock = config.vsock && !config.vsock->path.empty(),
          .io_uring = std::ranges::any_of(config.disks, [](const auto& disk) { return disk.io == "io_uring"; }),
          .nets = !config.nets.empty(),
          .save_file = !config.save_file.empty()};
}

host::Capabilities kept_capabilities(const JailNeeds& needs) {
  // Root's shares: files get the owners and modes that the guest's root says, whoever owns them here.
  if (needs.writable_shares) return bit(CAP_CHOWN) | bit(CAP_DAC_OVERRIDE) | bit(CAP_FOWNER) | bit(CAP_FSETID) | bit(CAP_SETFCAP);
  return needs.shares ? bit(CAP_DAC_READ_SEARCH) : 0;
}

Jail Jail::begin(const proto::VmConfig& config, JailMode mode) {
  Jail out;
  out.mode_ = mode;
  if (config.vsock) out.vsock_path_ = config.vsock->path;
  if (mode == JailMode::off) {
    if (!config.save_file.empty()) out.save_folder_ = host::Fd::open(folder_of(config.save_file), O_PATH | O_DIRECTORY);
    return out;
  }
  host::close_inherited_folders();
  out.apart_ = host::leave_namespaces();
  host::keep_in_threads(kept_capabilities(JailNeeds::of(config)));
  if (!config.save_file.empty()) out.save_folder_ = host::open_folder_apart(folder_of(config.save_file));
  return out;
}

void Jail::close(const JailNeeds& needs) {
  if (mode_ == JailMode::off) return;
  wake_library();
  host::give_up_paths();
  std::vector<std::string> missing = apart_.missing;
  if (apart_.mounts) {
    std::vector<host::KeptFolder> folders;
    if (needs.vsock) folders.push_back({folder_of(vsock_path_), vsock_folder});
    auto done = host::enter_empty_root(folders, needs.shares);
    rootless_ = done.has_value();
    if (!done) {
      missing.push_back(done.error().message());
    } else if (needs.vsock) {
      vsock_path_ = fmt::format("/{}/{}", vsock_folder, name_in_folder(vsock_path_));
    }
  }
  if (auto done = host::keep_capabilities(kept_capabilities(needs)); !done) missing.push_back(done.error().message());
  host::keep_in_threads(host::all_capabilities);  // those that start now have no more than we
  const auto unlisted = mode_ == JailMode::strict ? host::Unlisted::report : host::Unlisted::refuse;
  // Written before the filter, under which a log may look for the time zone.
  for (const std::string& line : missing) log::info("the jail lacks a layer: {}", line);
  if (auto done = allowed_calls(needs).enter(unlisted); !done) log::warning("the jail lacks its filter: {}", done.error().message());
}

std::vector<std::string> jail_lacks() {
  const host::Apart apart = host::leave_namespaces();
  std::vector<std::string> out = apart.missing;
  if (apart.mounts) {
    if (auto done = host::enter_empty_root({}, false); !done) out.push_back(done.error().message());
  }
  if (auto done = host::keep_capabilities(0); !done) out.push_back(done.error().message());
  if (auto done = allowed_calls({}).enter(host::Unlisted::refuse); !done) out.push_back(done.error().message());
  return out;
}

}  // namespace nagaya::vmm
