// What a container gets when its owner says nothing else: rights, hidden places, mounts, permitted system calls.
#pragma once
#include <string>
#include <vector>

#include "container/spec/spec.hpp"

namespace nagaya::container {

/// What root inside needs to install packages and serve on low ports, and nothing that reaches the host.
std::vector<std::string> default_capabilities();
/// /proc, /dev, /dev/pts, /dev/shm of `shm_size` bytes, /dev/mqueue, /sys and /sys/fs/cgroup, both read-only.
std::vector<Mount> default_mounts(u64 shm_size);
std::vector<std::string> default_masked_paths();
std::vector<std::string> default_readonly_paths();
/// The usual device list: everything refused but the harmless ones and terminals.
std::vector<DeviceRule> default_device_rules();
/// A list of permitted system calls; the others fail with EPERM, those newer than the list with ENOSYS, as on an older kernel.
/// Capabilities in `capabilities` open what belongs to them.
Seccomp default_seccomp(const std::vector<std::string>& capabilities);

}  // namespace nagaya::container
