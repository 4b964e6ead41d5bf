// "nagaya doctor": what the host offers, and the command that mends each lack.
#pragma once
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "cli/host_view.hpp"

namespace nagaya::cli {

enum class Health : u8 { ok, limited, missing };

/// One thing looked at.
struct Finding {
  std::string check;      ///< short name, stable, for scripts
  Health health = Health::ok;
  bool required = false;  ///< nothing runs without it
  std::string detail;     ///< what was found
  std::string mend{};     ///< a command, or a sentence when there is none; empty when ok
};

/// All checks, in the order they are shown.
[[nodiscard]] std::vector<Finding> examine_host(const HostView& host);

[[nodiscard]] CommandSpec doctor_command();

}  // namespace nagaya::cli
