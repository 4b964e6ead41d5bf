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

}  // namespace nagaya::container
