// The options of 'nagaya run' that give a machine its devices, and how their values are read.
#pragma once
#include <vector>

#include "cli/command.hpp"
#include "proto/device_config.hpp"

namespace nagaya::cli {

/// As help shows them.
[[nodiscard]] std::vector<OptionSpec> device_options();
/// Fills `devices` with what was given; its first serial port is the terminal unless something else was said.
[[nodiscard]] Result<> devices_from_options(const Parsed& options, proto::DeviceConfig& devices);

}  // namespace nagaya::cli
