// Sizes as people type them.
#pragma once
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::cli {

/// Bytes of "512M", "1.5G", "64KiB", "2GB" or "1048576". K, M, G, T (and KiB …) are powers of 1024; KB, MB, GB, TB are
/// powers of 1000; a bare number is bytes. Case does not matter. Errors say what is wrong with `text`.
[[nodiscard]] Result<u64> parse_size(std::string_view text);

/// Milliseconds of "30s", "1m30s", "500ms" or "2h"; each unit once, the larger first.
[[nodiscard]] Result<u64> parse_duration_ms(std::string_view text);

/// The shortest exact spelling: "512M", "3G", "1000".
[[nodiscard]] std::string format_size(u64 bytes);

/// Seconds since 1970 in UTC, ISO 8601; "?" for what no calendar has.
[[nodiscard]] std::string format_time(u64 seconds);

}  // namespace nagaya::cli
