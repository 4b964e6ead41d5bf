// Whether a machine is started again: by its monitor when it has ended, and by `nagaya start --autostart` when the host has. A file beside its
// definition, so that it changes while the machine runs and whoever runs it reads it at each end.
#pragma once
#include "base/result.hpp"
#include "domain/container_definition.hpp"
#include "domain/machine_store.hpp"

namespace nagaya::domain {

struct MachinePolicy {
  RestartPolicy restart{};
  bool autostart = false;
  bool operator==(const MachinePolicy&) const = default;

  /// What cannot be read is no policy.
  [[nodiscard]] static MachinePolicy read(const Machine& machine);
  [[nodiscard]] Result<> write(const Machine& machine) const;
  /// After an end with that exit code, having been started again so often.
  [[nodiscard]] bool again(int exit_code, unsigned restarts) const;
  /// When the host has started, of a machine that does not run.
  [[nodiscard]] bool with_host(const Machine& machine) const;
};

/// Somebody ended it: no policy starts it again until somebody does.
[[nodiscard]] Result<> mark_stopped(const Machine& machine);
[[nodiscard]] bool was_stopped(const Machine& machine);
void forget_stopped(const Machine& machine);

}  // namespace nagaya::domain
