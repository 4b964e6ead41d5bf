// The verbs over named machines: start, stop, ps, rm, logs, inspect.
#pragma once
#include <vector>

#include "cli/command.hpp"

namespace nagaya::cli {

[[nodiscard]] std::vector<CommandSpec> machine_commands();

}  // namespace nagaya::cli
