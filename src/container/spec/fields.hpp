// The fields of config.json, once for reading and writing: `describe(archive, object)` names each member of a type; the archive is a
// reader or a writer. Source of the names: OCI Runtime Specification 1.1, schema/*.json.
#pragma once
#include <concepts>
#include <type_traits>

#include "container/spec/spec.hpp"

namespace nagaya::container {

template <class T, class Of>
concept Either = std::same_as<std::remove_const_t<T>, Of>;

void describe(auto& a, Either<IdMap> auto& x) {
  a("containerID", x.inside);
  a("hostID", x.outside);
  a("size", x.size);
}
void describe(auto& a, Either<User> auto& x) {
  a("uid", x.uid);
  a("gid", x.gid);
  a("umask", x.umask);
  a("additionalGids", x.additional_gids);
}
void describe(auto& a, Either<Capabilities> auto& x) {
  a("bounding", x.bounding);
  a("effective", x.effective);
  a("inheritable", x.inheritable);
  a("permitted", x.permitted);
  a("ambient", x.ambient);
}
void describe(auto& a, Either<Rlimit> auto& x) {
  a("type", x.type);
  a("soft", x.soft);
  a("hard", x.hard);
}
void describe(auto& a, Either<Scheduler> auto& x) {
  a("policy", x.policy);
  a("nice", x.nice);
  a("priority", x.priority);
  a("flags", x.flags);
  a("runtime", x.runtime);
  a("deadline", x.deadline);
  a("period", x.period);
}
void describe(auto& a, Either<IoPriority> auto& x) {
  a("class", x.io_class);
  a("priority", x.priority);
}
void describe(auto& a, Either<ConsoleSize> auto& x) {
  a("height", x.height);
  a("width", x.width);
}
void describe(auto& a, Either<Process> auto& x) {
  a("terminal", x.terminal);
  a("consoleSize", x.console_size);
  a("user", x.user);
  a("args", x.args);
  a("env", x.env);
  a("cwd", x.cwd);
  a("capabilities", x.capabilities);
  a("rlimits", x.rlimits);
  a("noNewPrivileges", x.no_new_privileges);
  a("apparmorProfile", x.apparmor_profile);
  a("selinuxLabel", x.selinux_label);
  a("oomScoreAdj", x.oom_score_adj);
  a("scheduler", x.scheduler);
  a("ioPriority", x.io_priority);
  a.group("execCPUAffinity", [&](auto& inner) {
    inner("initial", x.cpu_affinity_initial);
    inner("final", x.cpu_affinity_final);
  });
}
void describe(auto& a, Either<Mount> auto& x) {
  a("destination", x.destination);
  a("type", x.type);
  a("source", x.source);
  a("options", x.options);
  a("uidMappings", x.uid_mappings);
  a("gidMappings", x.gid_mappings);
}
void describe(auto& a, Either<Hook> auto& x) {
  a("path", x.path);
  a("args", x.args);
  a("env", x.env);
  a("timeout", x.timeout);
}
void describe(auto& a, Either<Hooks> auto& x) {
  a("prestart", x.prestart);
  a("createRuntime", x.create_runtime);
  a("createContainer", x.create_container);
  a("startContainer", x.start_container);
  a("poststart", x.poststart);
  a("poststop", x.poststop);
}
void describe(auto& a, Either<Namespace> auto& x) {
  a("type", x.kind);
  a("path", x.path);
}
void describe(auto& a, Either<Device> auto& x) {
  a("type", x.type);
  a("path", x.path);
  a("major", x.major);
  a("minor", x.minor);
  a("fileMode", x.file_mode);
  a("uid", x.uid);
  a("gid", x.gid);
}
void describe(auto& a, Either<DeviceRule> auto& x) {
  a("allow", x.allow);
  a("type", x.type);
  a("major", x.major);
  a("minor", x.minor);
  a("access", x.access);
}
void describe(auto& a, Either<ThrottleDevice> auto& x) {
  a("major", x.major);
  a("minor", x.minor);
  a("rate", x.rate);
}
void describe(auto& a, Either<WeightDevice> auto& x) {
  a("major", x.major);
  a("minor", x.minor);
  a("weight", x.weight);
  a("leafWeight", x.leaf_weight);
}
void describe(auto& a, Either<MemoryLimits> auto& x) {
  a("limit", x.limit);
  a("reservation", x.reservation);
  a("swap", x.swap);
  a("kernel", x.kernel);
  a("kernelTCP", x.kernel_tcp);
  a("swappiness", x.swappiness);
  a("disableOOMKiller", x.disable_oom_killer);
  a("useHierarchy", x.use_hierarchy);
  a("checkBeforeUpdate", x.check_before_update);
}
void describe(auto& a, Either<CpuLimits> auto& x) {
  a("shares", x.shares);
  a("quota", x.quota);
  a("burst", x.burst);
  a("period", x.period);
  a("realtimeRuntime", x.realtime_runtime);
  a("realtimePeriod", x.realtime_period);
  a("cpus", x.cpus);
  a("mems", x.mems);
  a("idle", x.idle);
}
void describe(auto& a, Either<BlockIoLimits> auto& x) {
  a("weight", x.weight);
  a("leafWeight", x.leaf_weight);
  a("weightDevice", x.weight_devices);
  a("throttleReadBpsDevice", x.read_bps);
  a("throttleWriteBpsDevice", x.write_bps);
  a("throttleReadIOPSDevice", x.read_iops);
  a("throttleWriteIOPSDevice", x.write_iops);
}
void describe(auto& a, Either<HugepageLimit> auto& x) {
  a("pageSize", x.page_size);
  a("limit", x.limit);
}
void describe(auto& a, Either<RdmaLimit> auto& x) {
  a("hcaHandles", x.handles);
  a("hcaObjects", x.objects);
}
void describe(auto& a, Either<InterfacePriority> auto& x) {
  a("name", x.name);
  a("priority", x.priority);
}
void describe(auto& a, Either<Resources> auto& x) {
  a("devices", x.devices);
  a("memory", x.memory);
  a("cpu", x.cpu);
  a.group("pids", [&](auto& inner) { inner("limit", x.pids_limit); });
  a("blockIO", x.block_io);
  a("hugepageLimits", x.hugepages);
  a.group("network", [&](auto& inner) {
    inner("classID", x.net_class_id);
    inner("priorities", x.net_priorities);
  });
  a.named("rdma", x.rdma, &RdmaLimit::device);
  a("unified", x.unified);
}
void describe(auto& a, Either<SeccompArg> auto& x) {
  a("index", x.index);
  a("value", x.value);
  a("valueTwo", x.value_two);
  a("op", x.op);
}
void describe(auto& a, Either<SeccompRule> auto& x) {
  a("names", x.names);
  a("action", x.action);
  a("errnoRet", x.errno_ret);
  a("args", x.args);
}
void describe(auto& a, Either<Seccomp> auto& x) {
  a("defaultAction", x.default_action);
  a("defaultErrnoRet", x.default_errno_ret);
  a("architectures", x.architectures);
  a("flags", x.flags);
  a("listenerPath", x.listener_path);
  a("listenerMetadata", x.listener_metadata);
  a("syscalls", x.syscalls);
}
void describe(auto& a, Either<TimeOffset> auto& x) {
  a("secs", x.secs);
  a("nanosecs", x.nanosecs);
}
void describe(auto& a, Either<Personality> auto& x) {
  a("domain", x.domain);
  a("flags", x.flags);
}
void describe(auto& a, Either<IntelRdt> auto& x) {
  a("closID", x.clos_id);
  a("l3CacheSchema", x.l3_cache_schema);
  a("memBwSchema", x.mem_bw_schema);
  a("enableCMT", x.enable_cmt);
  a("enableMBM", x.enable_mbm);
}
void describe(auto& a, Either<MemoryPolicy> auto& x) {
  a("mode", x.mode);
  a("nodes", x.nodes);
  a("flags", x.flags);
}
void describe(auto& a, Either<Linux> auto& x) {
  a("namespaces", x.namespaces);
  a("uidMappings", x.uid_mappings);
  a("gidMappings", x.gid_mappings);
  a.group("timeOffsets", [&](auto& inner) {
    inner("monotonic", x.monotonic_offset);
    inner("boottime", x.boottime_offset);
  });
  a("devices", x.devices);
  a("cgroupsPath", x.cgroups_path);
  a("resources", x.resources);
  a("seccomp", x.seccomp);
  a("rootfsPropagation", x.rootfs_propagation);
  a("maskedPaths", x.masked_paths);
  a("readonlyPaths", x.readonly_paths);
  a("sysctl", x.sysctl);
  a("mountLabel", x.mount_label);
  a("personality", x.personality);
  a("intelRdt", x.intel_rdt);
  a("memoryPolicy", x.memory_policy);
}
void describe(auto& a, Either<Spec> auto& x) {
  a("ociVersion", x.oci_version);
  a.group("root", [&](auto& inner) {
    inner("path", x.root_path);
    inner("readonly", x.root_readonly);
  });
  a("process", x.process);
  a("hostname", x.hostname);
  a("domainname", x.domainname);
  a("mounts", x.mounts);
  a("hooks", x.hooks);
  a("annotations", x.annotations);
  a("linux", x.linux);
}

}  // namespace nagaya::container
