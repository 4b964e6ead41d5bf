// `nagaya run --container IMAGE`: a new named container made of an image of the store, and its start.
#pragma once
#include "cli/command.hpp"
#include "domain/container_monitor.hpp"
#include "domain/container_store.hpp"

namespace nagaya::cli {

/// Makes and starts it; in the foreground until it ends.
[[nodiscard]] Result<int> run_container(const Parsed& options);

/// What its start needs: the image's layers; paths of our programs.
[[nodiscard]] Result<domain::ContainerStart> start_of(const domain::Container& container, bool quiet);

/// The image's layers, unpacked where its storage driver wants that.
[[nodiscard]] Result<domain::ContainerLayers> layers_of(const domain::Container& container, bool quiet);

/// What the container's image says about running it; nothing when the image cannot be read.
[[nodiscard]] image::OciConfig image_config(const domain::ContainerDefinition& definition);

}  // namespace nagaya::cli
