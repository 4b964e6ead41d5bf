// The program of an OCI image, run as the one thing its guest is for.
#pragma once
#include <string>

#include "base/result.hpp"
#include "proto/init_config.hpp"

namespace nagaya::init {

/// Mounts, name, network and the agent (a descriptor of its program, or -1), then the program; orphans are reaped, the power
/// button and signals go to it. Returns what is to be told on the status port.
[[nodiscard]] std::string run_service(const proto::InitConfig& config, int agent);

/// Writes a line to the status port; false when there is none.
[[nodiscard]] bool tell_status(const std::string& line);

}  // namespace nagaya::init
