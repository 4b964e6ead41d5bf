// "nagaya exec" and "nagaya cp": what the agent inside a guest does for its host.
#pragma once
#include <string>
#include <vector>

#include "cli/command.hpp"

namespace nagaya::cli {

[[nodiscard]] CommandSpec exec_command();
[[nodiscard]] CommandSpec cp_command();

/// Runs `command` in a running machine with our streams, by the options of exec (interactive, tty, env, workdir, user). A
/// guest that is still starting is given `patience_ms`. Gives the exit code.
[[nodiscard]] Result<int> exec_in_machine(const std::string& name, std::vector<std::string> command, const Parsed& options, int patience_ms);

/// The socket of a running machine's vsock. Error when `name` can be none.
[[nodiscard]] Result<std::string> agent_socket(const std::string& name);

}  // namespace nagaya::cli
