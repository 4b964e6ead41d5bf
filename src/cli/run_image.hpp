// `nagaya run IMAGE`: a new named machine made of an image of the store, and its start.
#pragma once
#include <vector>

#include "cli/command.hpp"
#include "domain/machine_policy.hpp"
#include "domain/machine_spec.hpp"
#include "proto/vm_config.hpp"

namespace nagaya::cli {

/// The options that only images have, as help shows them.
[[nodiscard]] std::vector<OptionSpec> image_run_options();

/// What the options say about the machine; `memory`, processors, engine and devices are taken from `config`.
[[nodiscard]] Result<domain::MachineSpec> spec_from_options(const Parsed& options, const proto::VmConfig& config);

/// --restart. It does not go with --rm.
[[nodiscard]] Result<domain::MachinePolicy> policy_from_options(const Parsed& options);

/// Makes and starts it.
[[nodiscard]] Result<int> run_image(const Parsed& options, const proto::VmConfig& config);

}  // namespace nagaya::cli
