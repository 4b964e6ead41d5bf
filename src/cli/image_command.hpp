// "nagaya build", "pull", "images", "rmi": images made, listed, removed.
#pragma once
#include <vector>

#include "cli/command.hpp"

namespace nagaya::cli {

[[nodiscard]] std::vector<CommandSpec> image_commands();

}  // namespace nagaya::cli
