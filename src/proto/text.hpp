// Small things about text: UTF-8, times.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/types.hpp"

namespace nagaya::proto {

/// Code points of valid UTF-8.
[[nodiscard]] std::size_t characters(std::string_view utf8);
[[nodiscard]] bool valid_utf8(std::string_view text);
/// At most `most` bytes, with what a terminal or a log might take as something else replaced by '?'.
[[nodiscard]] std::string printable(std::string_view text, std::size_t most);
/// "2026-01-31T12:00:00Z" (RFC 3339, UTC) of seconds since 1970.
[[nodiscard]] std::string time_text(i64 seconds);
[[nodiscard]] std::string now_text();
/// Seconds since 1970 of an RFC 3339 time.
[[nodiscard]] std::optional<i64> parse_time(std::string_view text);

}  // namespace nagaya::proto
