// The server's halves. A keeper mounts, holds the connection to the kernel open and starts the worker; the worker
// answers. A worker that is killed is followed by another on the same connection: mounts in containers stay good, and
// readers wait for a moment instead of seeing ENOTCONN.
#pragma once
#include <cstddef>
#include <string>

#include "base/result.hpp"
#include "base/types.hpp"
#include "host/fd.hpp"

namespace nagaya::procview {

/// What one worker leaves for the next, in memory they share: zeroes at first.
struct Shared {
  /// The kernel's first words on the connection, which it says once only.
  struct Greeting {
    u32 size;
    char bytes[256];
  } greeting;
  /// Handles of open files are never given twice: the kernel still holds those of the worker before.
  u64 next_handle;
  /// The request that is being answered; its header says how long it is, 0: none. The kernel writes it here itself and
  /// gives it once: if the worker dies over it, the next one answers it, or its reader would wait for ever, and nothing
  /// could kill it.
  u32 tries;
  alignas(4096) char request[64 * KiB];
};

/// Mounts at `folder`/mnt; a mount that a dead server left is taken away before.
Result<host::Fd> mount_view(const std::string& folder);

/// Answers until the file system is unmounted or SIGTERM comes.
Result<> work(int connection, const std::string& folder, Shared& shared);

}  // namespace nagaya::procview
