// A process named by its number and its start time: numbers come again, pairs do not.
#pragma once
#include <sys/types.h>

#include <optional>

#include "base/result.hpp"
#include "base/types.hpp"
#include "host/fd.hpp"

namespace nagaya::container {

struct ProcessId {
  pid_t pid = 0;
  u64 start = 0;  ///< clock ticks since boot, field 22 of /proc/PID/stat
  bool operator==(const ProcessId&) const = default;
};

/// The pair for a number that is in use; none when no such process is there.
std::optional<ProcessId> identify(pid_t pid);
/// Runs still: a zombie does not.
bool alive(const ProcessId& process);
/// A pidfd; ESRCH when the process has ended (or is another one).
Result<host::Fd> open_process(const ProcessId& process);
/// Waits until the process behind a pidfd has ended; false after `milliseconds`.
bool wait_for_end(int pidfd, int milliseconds);

}  // namespace nagaya::container
