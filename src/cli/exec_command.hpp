// "nagaya exec" and "nagaya cp": what the agent inside a guest does for its host.
#pragma once
#include "cli/command.hpp"

namespace nagaya::cli {

[[nodiscard]] CommandSpec exec_command();
[[nodiscard]] CommandSpec cp_command();

/// The socket of a running machine's vsock. Error when `name` can be none.
[[nodiscard]] Result<std::string> agent_socket(const std::string& name);

}  // namespace nagaya::cli
