// Sizes as people type them.
#pragma once
#include <string>

#include "base/result.hpp"
#include "base/types.hpp"
#include "proto/sizes.hpp"

namespace nagaya::cli {

using proto::parse_size;

/// Milliseconds of "30s", "1m30s", "500ms" or "2h"; each unit once, the larger first.
[[nodiscard]] Result<u64> parse_duration_ms(std::string_view text);

/// The shortest exact spelling: "512M", "3G", "1000".
[[nodiscard]] std::string format_size(u64 bytes);

/// Seconds since 1970 in UTC, ISO 8601; "?" for what no calendar has.
[[nodiscard]] std::string format_time(u64 seconds);

}  // namespace nagaya::cli
