// What a bundle's config.json says, as plain types. Source: OCI Runtime Specification 1.1 (config.md, config-linux.md) and the
// fields 1.2 added. Fields that only other platforms have are not here; unknown fields are ignored, as the specification asks.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/types.hpp"

namespace nagaya::container {

using Map = std::vector<std::pair<std::string, std::string>>;

struct IdMap {
  u32 inside = 0;   ///< containerID
  u32 outside = 0;  ///< hostID
  u32 size = 0;
};

struct User {
  u32 uid = 0;
  u32 gid = 0;
  std::optional<u32> umask;
  std::vector<u32> additional_gids;
};

/// Names as the kernel writes them ("CAP_SYS_ADMIN").
struct Capabilities {
  std::vector<std::string> bounding, effective, inheritable, permitted, ambient;
};

struct Rlimit {
  std::string type;  ///< "RLIMIT_NOFILE"
  u64 soft = 0;
  u64 hard = 0;
};

struct Scheduler {
  std::string policy;  ///< "SCHED_OTHER"
  int nice = 0;
  int priority = 0;
  std::vector<std::string> flags;
  u64 runtime = 0, deadline = 0, period = 0;  ///< nanoseconds
};

struct IoPriority {
  std::string io_class;  ///< "IOPRIO_CLASS_BE"
  int priority = 0;
};

struct ConsoleSize {
  u16 height = 0;
  u16 width = 0;
};

struct Process {
  bool terminal = false;
  std::optional<ConsoleSize> console_size;
  User user;
  std::vector<std::string> args;
  std::vector<std::string> env;  ///< "NAME=value"
  std::string cwd;
  std::optional<Capabilities> capabilities;
  std::vector<Rlimit> rlimits;
  bool no_new_privileges = false;
  std::string apparmor_profile;
  std::string selinux_label;
  std::optional<int> oom_score_adj;
  std::optional<Scheduler> scheduler;
  std::optional<IoPriority> io_priority;
  std::string cpu_affinity_initial, cpu_affinity_final;  ///< 1.2, execCPUAffinity: CPU lists ("0-3,7")
};

struct Mount {
  std::string destination;
  std::string type;
  std::string source;
  std::vector<std::string> options;
  std::vector<IdMap> uid_mappings, gid_mappings;
};

struct Hook {
  std::string path;
  std::vector<std::string> args;  ///< args[0] is the program's name
  std::vector<std::string> env;
  std::optional<int> timeout;  ///< seconds
};

struct Hooks {
  std::vector<Hook> prestart, create_runtime, create_container, start_container, poststart, poststop;
};

enum class NamespaceKind { pid, network, mount, ipc, uts, user, cgroup, time };

struct Namespace {
  NamespaceKind kind{};
  std::string path;  ///< empty: a new one
};

struct Device {
  char type = 'c';  ///< c, b, u, p
  std::string path;
  i64 major = 0, minor = 0;
  std::optional<u32> file_mode;
  u32 uid = 0, gid = 0;
};

struct DeviceRule {
  bool allow = false;
  char type = 'a';  ///< a, c, b
  std::optional<i64> major, minor;
  std::string access;  ///< of "rwm"
};

struct ThrottleDevice {
  i64 major = 0, minor = 0;
  u64 rate = 0;
};

struct WeightDevice {
  i64 major = 0, minor = 0;
  std::optional<u16> weight, leaf_weight;
};

struct MemoryLimits {
  std::optional<i64> limit, reservation, swap, kernel, kernel_tcp;  ///< bytes; -1: unlimited; swap counts memory and swap
  std::optional<u64> swappiness;
  std::optional<bool> disable_oom_killer, use_hierarchy, check_before_update;
};

struct CpuLimits {
  std::optional<u64> shares, period, realtime_period, burst;
  std::optional<i64> quota, realtime_runtime, idle;
  std::string cpus, mems;
};

struct BlockIoLimits {
  std::optional<u16> weight, leaf_weight;
  std::vector<WeightDevice> weight_devices;
  std::vector<ThrottleDevice> read_bps, write_bps, read_iops, write_iops;
};

struct HugepageLimit {
  std::string page_size;  ///< "2MB"
  u64 limit = 0;
};

struct RdmaLimit {
  std::string device;
  std::optional<u32> handles, objects;
};

struct InterfacePriority {
  std::string name;
  u32 priority = 0;
};

struct Resources {
  std::vector<DeviceRule> devices;
  std::optional<MemoryLimits> memory;
  std::optional<CpuLimits> cpu;
  std::optional<i64> pids_limit;
  std::optional<BlockIoLimits> block_io;
  std::vector<HugepageLimit> hugepages;
  std::optional<u32> net_class_id;
  std::vector<InterfacePriority> net_priorities;
  std::vector<RdmaLimit> rdma;
  Map unified;  ///< file of cgroup v2 → content
};

struct SeccompArg {
  u32 index = 0;
  u64 value = 0, value_two = 0;
  std::string op;  ///< "SCMP_CMP_EQ"
};

struct SeccompRule {
  std::vector<std::string> names;
  std::string action;  ///< "SCMP_ACT_ALLOW"
  std::optional<u32> errno_ret;
  std::vector<SeccompArg> args;
};

struct Seccomp {
  std::string default_action;
  std::optional<u32> default_errno_ret;
  std::vector<std::string> architectures;  ///< "SCMP_ARCH_X86_64"
  std::vector<std::string> flags;          ///< "SECCOMP_FILTER_FLAG_LOG"
  std::string listener_path;
  std::string listener_metadata;
  std::vector<SeccompRule> syscalls;
};

struct TimeOffset {
  i64 secs = 0;
  u32 nanosecs = 0;
};

struct Personality {
  std::string domain;  ///< "LINUX", "LINUX32"
  std::vector<std::string> flags;
};

struct IntelRdt {
  std::string clos_id, l3_cache_schema, mem_bw_schema;
  bool enable_cmt = false, enable_mbm = false;
};

struct MemoryPolicy {  // 1.3's draft: numactl's policies by name
  std::string mode, nodes;
  std::vector<std::string> flags;
};

struct Linux {
  std::vector<Namespace> namespaces;
  std::vector<IdMap> uid_mappings, gid_mappings;
  std::optional<TimeOffset> monotonic_offset, boottime_offset;
  std::vector<Device> devices;
  std::string cgroups_path;
  std::optional<Resources> resources;
  std::optional<Seccomp> seccomp;
  std::string rootfs_propagation;
  std::vector<std::string> masked_paths, readonly_paths;
  Map sysctl;
  std::string mount_label;
  std::optional<Personality> personality;
  std::optional<IntelRdt> intel_rdt;
  std::optional<MemoryPolicy> memory_policy;
};

struct Spec {
  std::string oci_version;
  std::string root_path;
  bool root_readonly = false;
  std::optional<Process> process;
  std::string hostname, domainname;
  std::vector<Mount> mounts;
  Hooks hooks;
  Map annotations;
  Linux linux;
};

/// The annotation of a container that is a whole system: its own init arranges its services in cgroups.
inline constexpr const char* system_annotation = "org.nagaya.system";
[[nodiscard]] inline bool is_whole_system(const Spec& spec) {
  for (const auto& [key, value] : spec.annotations) {
    if (key == system_annotation) return value == "true";
  }
  return false;
}

}  // namespace nagaya::container
