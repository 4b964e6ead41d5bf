// Runs a command in a guest with streams of this process.
#pragma once
#include <functional>

#include "agent/channel.hpp"

namespace nagaya::agent {

struct ExecStreams {
  int input = -1;  ///< -1: none; then the request says so, too
  int output = 1, errors = 2;
  /// Readable when signals wait; -1: none. `on_signals` then gives frames to send (signal, resize).
  int signals = -1;
  std::function<std::vector<Frame>()> on_signals{};
};

/// Until the command has ended. An error of code ENOENT or EACCES: it could not be started.
[[nodiscard]] Result<Exited> run_exec(Channel& channel, const ExecRequest& request, const ExecStreams& streams);

}  // namespace nagaya::agent
