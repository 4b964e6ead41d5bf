// `nagaya run --container IMAGE`: a new named container made of an image of the store, and its start.
#pragma once
#include "cli/command.hpp"
#include "domain/container_monitor.hpp"
#include "domain/container_store.hpp"

namespace nagaya::cli {

/// Makes and starts it; in the foreground until it ends.
[[nodiscard]] Result<int> run_container(const Parsed& options);

/// What its start needs: the image's layers, unpacked; paths of our programs.
[[nodiscard]] Result<domain::ContainerStart> start_of(const domain::ContainerDefinition& definition, bool quiet);

/// Folders of the image's layers, unpacked, the lowest first.
[[nodiscard]] Result<std::vector<std::string>> layers_of(const domain::ContainerDefinition& definition, bool quiet);

/// What the container's image says about running it; nothing when the image cannot be read.
[[nodiscard]] image::OciConfig image_config(const domain::ContainerDefinition& definition);

}  // namespace nagaya::cli
