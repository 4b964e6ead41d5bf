// Names of containers. They become folder names, so what is allowed is small.
#pragma once
#include <string_view>

#include "base/result.hpp"

namespace nagaya::container {

inline constexpr std::size_t id_limit = 1024;

/// Letters, digits and "_+.-", 1 to 1024 of them, not "." or "..".
Result<> check_id(std::string_view id);

}  // namespace nagaya::container
