// Sizes as people type them.
#pragma once
#include <string_view>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::proto {

/// Bytes of "512M", "1.5G", "64KiB", "2GB" or "1048576". K, M, G, T (and KiB …) are powers of 1024; KB, MB, GB, TB are
/// powers of 1000; a bare number is bytes. Case does not matter. Errors say what is wrong with `text`.
[[nodiscard]] Result<u64> parse_size(std::string_view text);

}  // namespace nagaya::proto
