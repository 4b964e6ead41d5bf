// The listener of a seccomp profile goes to an agent: over a socket that was connected before, with the process's state
// (config-linux.md "The Container Process State").
#pragma once
#include <string>

#include "base/result.hpp"
#include "container/record.hpp"
#include "container/security/security.hpp"
#include "host/fd.hpp"

namespace nagaya::container {

/// The text that goes with the descriptor.
std::string process_state_json(const Record& record, Status status, pid_t pid, const std::string& metadata);
/// Loads the program; when it has a listener, sends it with `state` to `agent`.
Result<> load_seccomp(const SeccompProgram& program, int agent, const std::string& state);

}  // namespace nagaya::container
