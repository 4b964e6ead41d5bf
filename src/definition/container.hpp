// Containers between their definitions and what the domain library keeps of them.
#pragma once
#include "definition/yaml.hpp"
#include "domain/container_store.hpp"
#include "image/image.hpp"

namespace nagaya::definition {

/// The label of a container that holds its project.
inline constexpr const char* project_label = "nagaya.project";

[[nodiscard]] std::string project_of(const domain::ContainerDefinition& definition);
/// Its labels without that one.
[[nodiscard]] Json own_labels(const domain::ContainerDefinition& definition);
[[nodiscard]] Result<domain::RestartPolicy> restart_of(const Json& restart);
/// Errors have EINVAL or, for fields of machines, EOPNOTSUPP.
[[nodiscard]] Result<domain::ContainerDefinition> container_definition_of(const Json& document, std::string image);
/// The definition that the document asks for of a container: of one that is there (`now`: its image, its project) or of a new one, with what its image
/// adds and the names of containers that it joins resolved.
[[nodiscard]] Result<domain::ContainerDefinition> wanted_container(const domain::ContainerStore& store, Json document, const image::Image& image);
[[nodiscard]] Result<domain::ContainerDefinition> wanted_container(const domain::ContainerStore& store, Json document, const domain::ContainerDefinition& now);
/// Makes it, all or nothing.
[[nodiscard]] Result<> create_container(const domain::ContainerStore& store, const Json& document, const image::Image& image);
/// Restart of the schema; null: it is not restarted.
[[nodiscard]] Json restart_json(const domain::RestartPolicy& policy);
/// The document that makes the same container; only what is not as usual.
[[nodiscard]] Json container_document(const domain::ContainerDefinition& definition);

}  // namespace nagaya::definition
