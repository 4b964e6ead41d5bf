// What surrounds a container's root: the monitor's own mount namespace, and the volumes. The root itself: container_storage.hpp.
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"
#include "domain/container_store.hpp"
#include "image/image.hpp"

namespace nagaya::domain {

/// Own mount namespace (and, for others than root, a user namespace in which the caller is root, with all its ranges). What is mounted
/// from now on is seen by nobody else and goes with the last process in it.
Result<> separate_monitor();
/// Folders of all volumes, those of the image's own, too; new ones get what the image has at their places. The root is mounted.
Result<std::vector<ContainerVolume>> prepare_volumes(const ContainerStore& store, const Container& container, const image::OciConfig& image);

}  // namespace nagaya::domain
