// Limits of a domain as definitions and the API show them, of either kind.
#pragma once
#include "definition/yaml.hpp"
#include "domain/container_definition.hpp"

namespace nagaya::definition {

/// Limits over those that are there; what is not named stays. Errors have EINVAL.
[[nodiscard]] Result<domain::DomainLimits> limits_of(const Json& limits, domain::DomainLimits now);
/// Only what is set.
[[nodiscard]] Json limits_json(const domain::DomainLimits& limits);

}  // namespace nagaya::definition
