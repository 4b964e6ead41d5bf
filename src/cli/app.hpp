// The whole command line.
#pragma once
#include <span>
#include <string>

namespace nagaya::cli {

/// Runs what the words after the program's name ask for; errors are printed. Gives the exit code.
[[nodiscard]] int run_command_line(std::span<const std::string> words);

}  // namespace nagaya::cli
