// Limits of a domain as the API's schemas show them, of either kind.
#pragma once
#include "api/backend.hpp"
#include "domain/container_definition.hpp"

namespace nagaya::api {

/// Limits over those that are there; what is not named stays. Errors have EINVAL.
[[nodiscard]] Result<domain::DomainLimits> limits_of(const Json& limits, domain::DomainLimits now);
/// Only what is set.
[[nodiscard]] Json limits_json(const domain::DomainLimits& limits);

}  // namespace nagaya::api
