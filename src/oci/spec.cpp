// spec: a config.json to begin with, like the peers'.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "container/spec/parse.hpp"
#include "host/fd.hpp"
#include "oci/commands.hpp"
#include "oci/options.hpp"

namespace nagaya::oci {
namespace {

container::Spec beginning() {
  container::Spec spec;
  spec.oci_version = "1.1.0";
  spec.root_path = "rootfs";
  spec.root_readonly = true;
  spec.hostname = "nagaya";
  container::Process& process = spec.process.emplace();
  process.terminal = true;
  process.args = {"sh"};
  process.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"};
  process.cwd = "/";
  const std::vector<std::string> kept = {"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"};
  process.capabilities =
      container::Capabilities{.bounding = kept, .effective = kept, .inheritable = {}, .permitted = kept, .ambient = {}};
  process.rlimits = {{"RLIMIT_NOFILE", 1024, 1024}};
  process.no_new_privileges = true;
  const auto mount = [&spec](const char* destination, const char* type, const char* source,
                             std::vector<std::string> options) {
    spec.mounts.push_back({destination, type, source, std::move(options), {}, {}});
  };
  mount("/proc", "proc", "proc", {});
  mount("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"});
  mount("/dev/pts", "devpts", "devpts", {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"});
  mount("/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"});
  mount("/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"});
  mount("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"});
  mount("/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", "ro"});
  using Kind = container::NamespaceKind;
  for (const Kind kind : {Kind::pid, Kind::network, Kind::ipc, Kind::uts, Kind::mount, Kind::cgroup}) {
    spec.linux.namespaces.push_back({kind, ""});
  }
  spec.linux.resources.emplace().devices = {{.allow = false, .type = 'a', .major = {}, .minor = {}, .access = "rwm"}};
  spec.linux.masked_paths = {"/proc/acpi",          "/proc/asound",     "/proc/kcore",       "/proc/keys",
                             "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
                             "/sys/firmware",       "/proc/scsi"};
  spec.linux.readonly_paths = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
  return spec;
}

/// What needs no right over the host: a user namespace with the caller's own ids, no cgroup, the host's network.
void make_rootless(container::Spec& spec) {
  auto& spaces = spec.linux.namespaces;
  std::erase_if(spaces, [](const container::Namespace& item) {
    return item.kind == container::NamespaceKind::network || item.kind == container::NamespaceKind::cgroup;
  });
  spaces.push_back({container::NamespaceKind::user, ""});
  spec.linux.uid_mappings = {{0, ::geteuid(), 1}};
  spec.linux.gid_mappings = {{0, ::getegid(), 1}};
  spec.linux.resources.reset();
  std::vector<container::Mount> mounts;
  for (container::Mount& mount : spec.mounts) {
    if (mount.type == "cgroup") continue;
    if (mount.destination == "/sys") {
      mount = {"/sys", "none", "/sys", {"rbind", "nosuid", "noexec", "nodev", "ro"}, {}, {}};
    }
    std::erase(mount.options, "gid=5");
    mounts.push_back(std::move(mount));
  }
  spec.mounts = std::move(mounts);
}

}  // namespace

Result<int> spec_command(const Global&, Words words) {
  constexpr Option options[] = {{"bundle", 'b', true}, {"rootless"}};
  TRY_ASSIGN(const Parsed parsed, Parsed::read(words, options, false));
  if (!parsed.arguments.empty()) return fail("spec takes no argument");
  container::Spec spec = beginning();
  if (parsed.has("rootless")) make_rootless(spec);
  const std::string path = parsed.get("bundle", ".") + "/config.json";
  const host::Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!file && errno == EEXIST) return fail("'" + path + "' is there already", "", "remove it first");
  if (!file) return fail_errno("cannot make '" + path + "'");
  TRY(host::write_all(file.get(), container::write_spec(spec) + "\n"));
  return 0;
}

}  // namespace nagaya::oci
