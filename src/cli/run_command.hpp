// "nagaya run": options to a machine's configuration.
#pragma once
#include "cli/command.hpp"
#include "proto/vm_config.hpp"

namespace nagaya::cli {

[[nodiscard]] CommandSpec run_command();

/// The machine that the options describe, validated. Relative paths stay as they are.
[[nodiscard]] Result<proto::VmConfig> machine_from_options(const Parsed& options);

/// Engine, processors, memory and devices of a machine that is made of an image.
[[nodiscard]] Result<proto::VmConfig> image_machine_from_options(const Parsed& options);

}  // namespace nagaya::cli
