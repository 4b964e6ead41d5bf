// The image that 'nagaya run' is asked for: from the store, or made now when it is not there.
#pragma once
#include <string>

#include "base/result.hpp"
#include "image/image.hpp"

namespace nagaya::cli {

/// "debian" is built when it is missing, with progress on standard error unless `quiet`.
[[nodiscard]] Result<image::Image> image_for_run(const std::string& name, bool quiet);

}  // namespace nagaya::cli
