// Limits of a machine that change while it runs: its memory by the balloon, all others in the cgroup of its process. What runs stays within
// what it was started with; the definition says what the next start has.
#pragma once
#include "base/result.hpp"
#include "cgroup/cgroup.hpp"
#include "domain/machine_store.hpp"

namespace nagaya::domain {

/// What a machine that runs was started with.
struct Started {
  u64 memory = 0;  ///< bytes
  unsigned vcpus = 0;
};

/// Of `wanted` what the cgroup of a machine that was started so is to have. A quota that `before` had and `wanted` has not is taken away.
/// EBUSY: it has to be started anew for that.
[[nodiscard]] Result<cgroup::Resources> live_resources(const MachineSpec& before, const MachineSpec& wanted, const Started& started);

/// Gives the machine the memory, processors and limits of `wanted`, which is its definition but for them: now where it runs, and from its
/// next start on. Errors have EINVAL (no such limits) or EBUSY (it must be started anew for that); then nothing has changed.
[[nodiscard]] Result<> update_machine(const MachineStore& store, const Machine& machine, const MachineSpec& wanted);

}  // namespace nagaya::domain
