// The version of this program, from the build.
#pragma once
#include <string_view>

namespace nagaya::cli {

#ifdef NAGAYA_VERSION
inline constexpr std::string_view version = NAGAYA_VERSION;
#else
inline constexpr std::string_view version = "0.0.0";
#endif

}  // namespace nagaya::cli
