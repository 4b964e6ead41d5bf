// Limits of a domain as definitions and the API show them, of either kind.
#pragma once
#include "definition/yaml.hpp"
#include "domain/container_definition.hpp"

namespace nagaya::definition {

/// Limits over those that are there; what is not named stays. Errors have EINVAL.
[[nodiscard]] Result<domain::DomainLimits> limits_of(const Json& limits, domain::DomainLimits now);
/// Only what is set.
[[nodiscard]] Json limits_json(const domain::DomainLimits& limits);

// The two scales of weights, as runtimes convert them: shares of v1 (2 to 262144; 10 to 1000 for disks) and weights of v2 (1 to 10000). 0 stays 0.
// Back they are rounded up, so that a weight that was shown is the same number again when it comes back.
[[nodiscard]] u64 shares_of_cpu_weight(u64 weight);
[[nodiscard]] u64 cpu_weight_of_shares(u64 shares);
[[nodiscard]] u16 blkio_of_io_weight(u64 weight);
[[nodiscard]] u64 io_weight_of_blkio(u16 blkio);

}  // namespace nagaya::definition
