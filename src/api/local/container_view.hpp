// A container as the API's schemas show it.
#pragma once
#include <string>

#include "api/backend.hpp"
#include "domain/container_control.hpp"
#include "domain/container_store.hpp"

namespace nagaya::api {

/// The label that holds a domain's project.
inline constexpr const char* project_label = "nagaya.project";

[[nodiscard]] std::string container_project(const domain::Container& container);
/// `image` is the id. Errors have EINVAL.
[[nodiscard]] Result<domain::ContainerDefinition> container_definition_of(const Json& definition, std::string image);
[[nodiscard]] Result<domain::RestartPolicy> restart_of(const Json& restart);
[[nodiscard]] Json container_definition(const domain::Container& container);
/// Domain.
[[nodiscard]] Json container_summary(const domain::ContainerStore& store, const domain::Container& container);
/// Stats; ENOTCONN: it does not run.
[[nodiscard]] Result<Json> container_stats_view(const domain::ContainerStore& store, const domain::Container& container);
[[nodiscard]] Result<Json> container_processes_view(const domain::ContainerStore& store, const domain::Container& container);

}  // namespace nagaya::api
