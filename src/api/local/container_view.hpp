// A container as the API's schemas show it; its definition is definition/container.hpp's.
#pragma once
#include "api/backend.hpp"
#include "definition/container.hpp"
#include "domain/container_control.hpp"

namespace nagaya::api {

/// Domain.
[[nodiscard]] Json container_summary(const domain::ContainerStore& store, const domain::Container& container);
/// Stats; ENOTCONN: it does not run.
[[nodiscard]] Result<Json> container_stats_view(const domain::ContainerStore& store, const domain::Container& container);
[[nodiscard]] Result<Json> container_processes_view(const domain::ContainerStore& store, const domain::Container& container);

}  // namespace nagaya::api
