// What a container takes of its image beside the layers.
#pragma once
#include "domain/container_store.hpp"
#include "image/store.hpp"

namespace nagaya::domain {

/// The image's id, and the program of an image that names none.
void take_image(ContainerDefinition& definition, const image::Image& image);

/// Once, for a new container: the root of a machine's image speaks of the machine's disk, and none is here to be checked or grown.
[[nodiscard]] Result<> adapt_root(const Container& container, const image::Image& image);

}  // namespace nagaya::domain
