// Help, manual page and shell completion, all made from the command table.
#pragma once
#include <string>
#include <string_view>

#include "cli/command.hpp"

namespace nagaya::cli {

/// "nagaya help": examples first, then the commands and the exit codes.
[[nodiscard]] std::string help_overview();
/// "nagaya help COMMAND".
[[nodiscard]] std::string help_of(const CommandSpec& command);
/// The manual page nagaya(1) in man(7) macros.
[[nodiscard]] std::string manual_page();
/// A completion script. `shell`: bash, zsh or fish.
[[nodiscard]] Result<std::string> completion_script(std::string_view shell);

/// What exit codes mean, for help and manual.
[[nodiscard]] const Section& exit_code_section();

}  // namespace nagaya::cli
