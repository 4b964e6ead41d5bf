// Runs a command for the host, with its streams, until it ends or the host goes away.
#pragma once
#include "agent/channel.hpp"

namespace nagaya::agent::guest {

/// After the request was read. An error ends the connection.
Result<> serve_exec(Channel& channel, const ExecRequest& request);

}  // namespace nagaya::agent::guest
