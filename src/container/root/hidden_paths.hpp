// Paths the container may not read, or not write.
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"

namespace nagaya::container {

/// Each path that is there becomes a read-only mount of itself, with all below it.
Result<> protect_paths(int root, const std::vector<std::string>& paths);
/// Each path that is there is covered: a folder by an empty read-only tmpfs, anything else by /dev/null.
Result<> mask_paths(int root, const std::vector<std::string>& paths);
/// For a root that is moved instead of pivoted to: the host's mounts stay in the namespace, out of sight. A full procfs or sysfs among them
/// would let a process inside mount another one without the masks, so all of these outside of `root` go, or are covered.
Result<> hide_kernel_mounts(int root);

}  // namespace nagaya::container
