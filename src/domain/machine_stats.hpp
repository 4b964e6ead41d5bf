// What a machine uses of its host: its process, seen from outside.
#pragma once
#include <sys/types.h>

#include <optional>

#include "base/result.hpp"
#include "cgroup/cgroup.hpp"
#include "domain/machine_store.hpp"

namespace nagaya::domain {

/// The process that is the machine; nothing when it does not run.
[[nodiscard]] std::optional<pid_t> machine_process(const Machine& machine);

/// CPU time, memory, threads and disks of that process since its start; the other counters are 0. ENOTCONN: it does not run.
[[nodiscard]] Result<cgroup::Stats> machine_stats(const MachineStore& store, const Machine& machine);

}  // namespace nagaya::domain
