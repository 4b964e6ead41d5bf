// Command lines to values, by CLI11.
#pragma once
#include <span>
#include <string>

#include "cli/command.hpp"

namespace nagaya::cli {

/// Reads the words after the command's name. Errors name the word, and what was probably meant.
[[nodiscard]] Result<Parsed> parse_arguments(const CommandSpec& command, std::span<const std::string> words);

/// An error for a command that does not exist.
[[nodiscard]] Error unknown_command(const std::string& name);

}  // namespace nagaya::cli
