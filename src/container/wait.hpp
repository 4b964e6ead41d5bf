// A command that stays until the container's process ends: signals that reach it go on to the process, and a terminal
// is relayed.
#pragma once
#include <sys/types.h>

#include "base/result.hpp"
#include "host/fd.hpp"

namespace nagaya::container {

/// Waits for our child `pid`; its status as a shell tells it.
Result<int> wait_for(pid_t pid);
/// The same, while the terminal whose master comes over `connection` is joined to our own descriptors 0 and 1.
Result<int> wait_with_terminal(pid_t pid, const host::Fd& connection);

}  // namespace nagaya::container
