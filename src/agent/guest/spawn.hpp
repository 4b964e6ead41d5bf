// A process of the guest that the host asked for, with its ends.
#pragma once
#include <sys/types.h>

#include "agent/protocol.hpp"
#include "host/fd.hpp"

namespace nagaya::agent::guest {

struct Child {
  pid_t pid = -1;  ///< leads a session and a process group of its own
  host::Fd ended;  ///< readable when it has ended
  host::Fd input, output, errors;  ///< non-blocking; with a terminal all is `output`, and `input` a second handle of it
};

/// The error's code is that of exec: ENOENT when there is no such command.
[[nodiscard]] Result<Child> spawn(const ExecRequest& request);

}  // namespace nagaya::agent::guest
