// Commands to a machine that runs, over its control socket.
#pragma once
#include "base/result.hpp"
#include "domain/machine_store.hpp"
#include "proto/vm_command.hpp"

namespace nagaya::domain {

/// Sends one command and waits at most `timeout_ms` for the answer; an answer that is not ok is an error.
[[nodiscard]] Result<proto::VmAnswer> command_machine(const Machine& machine, const proto::VmCommand& command, unsigned timeout_ms = 10'000);

/// Presses the power button, waits up to `seconds`, then ends the machine's process. Returns when it has ended.
[[nodiscard]] Result<> stop_machine(const MachineStore& store, const Machine& machine, unsigned seconds);

}  // namespace nagaya::domain
