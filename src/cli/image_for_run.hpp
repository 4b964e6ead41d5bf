// The image that 'nagaya run' is asked for: from the store, or made now when it is not there.
#pragma once
#include <string>

#include "base/result.hpp"
#include "image/image.hpp"

namespace nagaya::cli {

enum class ImageUse : u8 {
  machine,   ///< needs a disk and a kernel
  container  ///< needs layers
};

/// What is missing is fetched from its registry, but "debian" is built; with progress on standard error unless `quiet`.
[[nodiscard]] Result<image::Image> image_for_run(const std::string& name, bool quiet, ImageUse use);

}  // namespace nagaya::cli
