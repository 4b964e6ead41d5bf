// Where a container's root comes from: the image's layers under a folder of its own, by overlayfs; where that is refused (old kernels in user
// namespaces, a state folder that lies on an overlay itself) by the program fuse-overlayfs; where that cannot be used by a copy of all
// layers. What a container began with it keeps: what it wrote lies where only that one finds it.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "domain/container_store.hpp"
#include "image/image.hpp"

namespace nagaya::domain {

/// The image's layers, the lowest first.
struct ContainerLayers {
  std::vector<std::string> archives{};
  bool whiteouts = true;               ///< names with .wh. in the archives hide what is below
  std::vector<std::string> folders{};  ///< unpacked for overlays; empty: they could not be, or need not
};

/// Names of the drivers, as other container managers have them: overlay, fuse-overlayfs, vfs (the copy).
[[nodiscard]] bool is_storage_driver(std::string_view name);
/// The driver that this container has begun with, else the one it is to have; empty: the first that works.
[[nodiscard]] std::string storage_driver(const Container& container);
/// Mounts the root at `container.places.root()`, in the caller's own mount namespace, and remembers the driver. The layers are shown with the
/// numbers of the container's own users, if it has such.
Result<> mount_root(const Container& container, const ContainerLayers& layers);

}  // namespace nagaya::domain
