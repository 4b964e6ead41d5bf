// Commands to a machine that runs, over its control socket.
#pragma once
#include "base/result.hpp"
#include "domain/machine_store.hpp"
#include "proto/vm_command.hpp"
#include "proto/vm_config.hpp"

namespace nagaya::domain {

/// Sends one command and waits at most `timeout_ms` for the answer; an answer that is not ok is an error.
[[nodiscard]] Result<proto::VmAnswer> command_machine(const Machine& machine, const proto::VmCommand& command, unsigned timeout_ms = 10'000);

/// Saves the machine to a file at `path`, which is there when it is complete, or as it was before. With `then_exit` the machine
/// ends. The machine's process is given the open file: it reaches none by itself.
[[nodiscard]] Result<> save_machine(const Machine& machine, const std::string& path, bool then_exit, unsigned timeout_ms = 600'000);

/// Removes the sockets of a machine whose process has ended, which could not do so from its jail; also after it was killed.
void remove_sockets(const proto::VmConfig& config);

/// Halts a machine where it is, or lets it go on; EBUSY: it is so already.
[[nodiscard]] Result<> hold_machine(const Machine& machine, bool pause);

/// How a machine that does not run ended: its program's code, 137 when it was killed, 0 when it never ran.
[[nodiscard]] int machine_exit_code(const Machine& machine);

/// What a signal to a machine means: KILL ends its process at once, TERM and INT press the power button and return. Others mean nothing to a
/// machine (EOPNOTSUPP); EBUSY: it does not run.
[[nodiscard]] Result<> signal_machine(const MachineStore& store, const Machine& machine, int signal);

/// Presses the power button, also of one that is just starting; no policy starts it again.
[[nodiscard]] Result<> ask_machine_to_stop(const MachineStore& store, const Machine& machine);

/// Presses the power button, waits up to `seconds`, then ends the machine's process. Returns when it has ended.
[[nodiscard]] Result<> stop_machine(const MachineStore& store, const Machine& machine, unsigned seconds);

}  // namespace nagaya::domain
