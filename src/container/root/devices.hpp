// Device nodes of a container, and the links of /dev.
#pragma once
#include "base/result.hpp"
#include "container/root/root.hpp"

namespace nagaya::container {

/// The devices every container has and those of config.json, made by mknod or, where that is refused, bound from the host's; then the
/// usual links. Nothing when the configuration binds a whole /dev.
Result<> make_devices(const RootRequest& request, int root);

}  // namespace nagaya::container
