#include "container/spec/defaults.hpp"

namespace nagaya::container {
namespace {

Mount mount(const char* destination, const char* type, const char* source, std::vector<std::string> options) {
  Mount out;
  out.destination = destination;
  out.type = type;
  out.source = source;
  out.options = std::move(options);
  return out;
}

DeviceRule allow(char type, std::optional<i64> major, std::optional<i64> minor, const char* access) {
  return {.allow = true, .type = type, .major = major, .minor = minor, .access = access};
}

}  // namespace

std::vector<std::string> default_capabilities() {
  return {"CAP_CHOWN",  "CAP_DAC_OVERRIDE",     "CAP_FOWNER",  "CAP_FSETID", "CAP_KILL",      "CAP_NET_BIND_SERVICE",
          "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT"};
}

std::vector<Mount> default_mounts(u64 shm_size) {
  return {
      mount("/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}),
      mount("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}),
      mount("/dev/pts", "devpts", "devpts", {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}),
      mount("/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=" + std::to_string(shm_size)}),
      mount("/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}),
      mount("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}),
      mount("/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", "ro"}),
  };
}

std::vector<std::string> default_masked_paths() {
  return {"/proc/acpi",    "/proc/asound",     "/proc/interrupts", "/proc/kcore",       "/proc/keys",
          "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
          "/sys/dev/block", "/sys/devices/virtual/powercap", "/sys/firmware", "/sys/fs/selinux"};
}

std::vector<std::string> default_readonly_paths() {
  return {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
}

std::vector<DeviceRule> default_device_rules() {
  return {
      {.allow = false, .type = 'a', .major = {}, .minor = {}, .access = "rwm"},
      allow('c', {}, {}, "m"),  // making a node gives no access to what it names
      allow('b', {}, {}, "m"),
      allow('c', 1, 3, "rwm"),    // null
      allow('c', 1, 5, "rwm"),    // zero
      allow('c', 1, 7, "rwm"),    // full
      allow('c', 1, 8, "rwm"),    // random
      allow('c', 1, 9, "rwm"),    // urandom
      allow('c', 5, 0, "rwm"),    // tty
      allow('c', 5, 1, "rwm"),    // console
      allow('c', 5, 2, "rwm"),    // ptmx
      allow('c', 136, {}, "rwm"),  // pts
  };
}

}  // namespace nagaya::container
