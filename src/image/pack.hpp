// Files packed by zstd.
#pragma once
#include <string>

#include "base/result.hpp"
#include "image/tool.hpp"

namespace nagaya::image {

[[nodiscard]] Result<> pack(const std::string& from, const std::string& to, const Work& work);

}  // namespace nagaya::image
