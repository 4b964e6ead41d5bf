// checkpoint, restore, migrate, receive.
#pragma once
#include <vector>

#include "cli/command.hpp"

namespace nagaya::cli {

[[nodiscard]] std::vector<CommandSpec> save_commands();

}  // namespace nagaya::cli
