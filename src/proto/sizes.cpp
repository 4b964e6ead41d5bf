#include "proto/sizes.hpp"

#include <fmt/core.h>

#include <array>
#include <cctype>

namespace nagaya::proto {

namespace {

__extension__ using Wide = unsigned __int128;

struct Unit {
  std::string_view name;  // lower case
  u64 factor;
};
constexpr u64 kilo = 1000;
constexpr std::array units{
    Unit{"", 1},           Unit{"b", 1},
    Unit{"k", KiB},        Unit{"kib", KiB},         Unit{"kb", kilo},
    Unit{"m", MiB},        Unit{"mib", MiB},         Unit{"mb", kilo * kilo},
    Unit{"g", GiB},        Unit{"gib", GiB},         Unit{"gb", kilo * kilo * kilo},
    Unit{"t", 1024 * GiB}, Unit{"tib", 1024 * GiB},  Unit{"tb", kilo * kilo * kilo * kilo},
};

std::unexpected<Error> bad(std::string_view text, std::string why) {
  return fail(fmt::format("'{}' is not a size", text), std::move(why), "write a number and K, M, G or T, such as 512M");
}

}  // namespace

Result<u64> parse_size(std::string_view text) {
  // Digits, at most one point among them, then the unit. Exact arithmetic: value = digits / scale.
  u64 digits = 0, scale = 1;
  bool point = false, any = false;
  std::size_t at = 0;
  for (; at < text.size(); ++at) {
    char c = text[at];
    if (c == '.' && !point && any) {
      point = true;
    } else if (c >= '0' && c <= '9') {
      any = true;
      if (point && scale >= 1'000'000) return bad(text, "too many digits");
      if (__builtin_mul_overflow(digits, 10, &digits) || __builtin_add_overflow(digits, u64(c - '0'), &digits))
        return bad(text, "it is too large");
      if (point) scale *= 10;
    } else {
      break;
    }
  }
  if (!any) return bad(text, text.starts_with('-') ? "sizes are not negative" : "it does not start with a number");
  if (point && scale == 1) return bad(text, "no digit follows the point");

  std::string unit;
  for (char c : text.substr(at)) unit += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const Unit& known : units) {
    if (unit != known.name) continue;
    Wide bytes = static_cast<Wide>(digits) * known.factor;
    if (bytes % scale != 0) return bad(text, "it is not a whole number of bytes");
    bytes /= scale;
    if (bytes >> 64 != 0) return bad(text, "it is too large");
    return static_cast<u64>(bytes);
  }
  return bad(text, fmt::format("'{}' is no unit", text.substr(at)));
}

}  // namespace nagaya::proto
