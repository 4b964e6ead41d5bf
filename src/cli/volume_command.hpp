// "nagaya volume": disk images made, examined, mended, resized, converted, and their snapshots.
#pragma once
#include "cli/command.hpp"

namespace nagaya::cli {

[[nodiscard]] CommandSpec volume_command();

}  // namespace nagaya::cli
