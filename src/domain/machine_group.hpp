// The cgroup of a machine's process: the same limits as a container's, in the same words.
#pragma once
#include <sys/types.h>

#include <optional>
#include <string>

#include "base/result.hpp"
#include "cgroup/cgroup.hpp"
#include "domain/machine_store.hpp"
#include "proto/vm_config.hpp"

namespace nagaya::domain {

/// What a machine's process may take in all when nothing is said: the guest's memory, and room for what the process needs
/// around it, so that it never runs into the limit by itself, and a process that has gone mad does not take the host along.
[[nodiscard]] u64 process_memory(const proto::VmConfig& config);
/// The part of it that grows with the guest's memory.
[[nodiscard]] u64 process_memory_of(u64 guest_memory);

/// The machine's limits in the terms of the cgroup room.
[[nodiscard]] Result<cgroup::Resources> machine_resources(const DomainLimits& limits, const proto::VmConfig& config);

/// The group while the machine runs; the destructor removes it, when its processes have ended.
class MachineGroup {
 public:
  /// Writes down where it will be (MachinePlaces::group) and makes it. Where groups cannot be made: an error when the machine has
  /// limits of its own, else none.
  static Result<MachineGroup> make(const Machine& machine, const proto::VmConfig& config);
  MachineGroup(MachineGroup&& other) noexcept : group_(std::exchange(other.group_, {})), note_(std::move(other.note_)) {}
  MachineGroup& operator=(MachineGroup&&) = delete;
  ~MachineGroup();

  /// Moves the caller in, which has one thread.
  [[nodiscard]] Result<> join() const;

 private:
  MachineGroup() = default;
  std::optional<cgroup::Group> group_;
  std::string note_;
};

/// The group of a machine that runs; nothing: it has none.
[[nodiscard]] Result<std::optional<cgroup::Group>> running_group(const Machine& machine);
/// The memory limit that the group of a machine that runs began with.
[[nodiscard]] std::optional<u64> started_limit(const Machine& machine);

/// Removes what a killed monitor left: the group of a machine that does not run, and processes in it. For whoever holds the
/// machine's lock.
void remove_left_group(const Machine& machine);

}  // namespace nagaya::domain
