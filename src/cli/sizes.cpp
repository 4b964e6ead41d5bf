#include "cli/sizes.hpp"

#include <charconv>

#include <fmt/core.h>

#include <array>
#include <ctime>

namespace nagaya::cli {

Result<u64> parse_duration_ms(std::string_view text) {
  const auto bad = [&] { return fail(fmt::format("'{}' is no time", text), "write it like 30s, 1m30s, 500ms or 2h"); };
  constexpr std::pair<std::string_view, u64> units[] = {{"h", 3'600'000}, {"m", 60'000}, {"s", 1000}, {"ms", 1}};
  u64 out = 0;
  std::string_view rest = text;
  std::size_t next = 0;
  while (!rest.empty()) {
    u64 number = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    if (error != std::errc{} || number > 1'000'000'000) return bad();
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    const std::string_view unit = rest.substr(0, rest.find_first_of("0123456789"));
    while (next < std::size(units) && units[next].first != unit) ++next;
    if (next == std::size(units)) return bad();
    out += number * units[next++].second;
    rest.remove_prefix(unit.size());
  }
  if (text.empty()) return bad();
  return out;
}

std::string format_size(u64 bytes) {
  constexpr std::array<std::string_view, 5> names{"", "K", "M", "G", "T"};
  std::size_t unit = 0;
  while (bytes != 0 && bytes % 1024 == 0 && unit + 1 < names.size()) {
    bytes /= 1024;
    ++unit;
  }
  return fmt::format("{}{}", bytes, names[unit]);
}

std::string format_time(u64 seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  char text[32];
  if (::gmtime_r(&time, &parts) == nullptr || std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0) return "?";
  return text;
}

}  // namespace nagaya::cli
