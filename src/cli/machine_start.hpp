// A named machine's start, in the foreground or behind a monitor process of its own.
#pragma once
#include "base/result.hpp"
#include "domain/machine_store.hpp"

namespace nagaya::cli {

struct StartOptions {
  bool quiet = false;
  bool remove_after = false;  ///< the machine goes away when it has ended
  /// Behind a monitor process: the console goes to the machine's log, and this returns when the machine runs.
  bool detach = false;
  /// With detach: the machine ends when we do, however we end.
  bool die_with_us = false;
};

/// Starts a machine that does not run. In the foreground its console is this terminal, and the exit code is its own;
/// detached, 0.
[[nodiscard]] Result<int> start_machine(const domain::Machine& machine, const StartOptions& options);

}  // namespace nagaya::cli
