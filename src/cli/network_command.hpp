// `nagaya network`: definitions of networks.
#pragma once
#include "cli/command.hpp"

namespace nagaya::cli {

[[nodiscard]] CommandSpec network_command();

}  // namespace nagaya::cli
