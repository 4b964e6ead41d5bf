#include "definition/libvirt/units.hpp"

#include <fmt/format.h>

#include <bitset>
#include <cctype>
#include <charconv>
#include <limits>

#include "proto/text.hpp"

namespace nagaya::definition::libvirt {
namespace {

constexpr std::size_t most_cpus = 4096;

/// 0: there is no such unit.
u64 factor_of(std::string_view unit) {
  if (unit.empty()) return KiB;
  std::string lower;
  for (const unsigned char c : unit) lower += static_cast<char>(std::tolower(c));
  if (lower == "b" || lower == "byte" || lower == "bytes") return 1;
  const std::size_t power = std::string_view("kmgtpe").find(lower[0]);
  if (power == std::string_view::npos) return 0;
  const std::string tail = lower.substr(1);
  const u64 base = tail == "b" ? 1000 : tail.empty() || tail == "ib" ? 1024 : 0;
  u64 out = base;
  for (std::size_t i = 0; i < power; ++i) out *= base;
  return out;
}

}  // namespace

std::optional<u64> whole_number(std::string_view text) {
  u64 out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return {};
  return out;
}

Result<u64> memory_size(std::string_view number, std::string_view unit) {
  const auto count = whole_number(number);
  if (!count) return fail(fmt::format("'{}'", proto::printable(number, 64)), "it is no whole number");
  const u64 factor = factor_of(unit);
  if (factor == 0) return fail(fmt::format("unit '{}'", proto::printable(unit, 64)), "there is no such unit", "b, KB, KiB, MB, MiB, GB, GiB …");
  if (*count > std::numeric_limits<u64>::max() / factor) return fail(fmt::format("'{}' {}", *count, unit), "it is too large");
  return *count * factor;
}

Result<std::string> cpu_set(std::string_view text) {
  const auto bad = [&]() { return fail(fmt::format("'{}'", proto::printable(text, 64)), "it is no list of numbers up to 4095", "write it like 0-3,7"); };
  std::bitset<most_cpus> set;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    std::string_view part = text.substr(at, end - at);
    at = end + 1;
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    const bool without = part.starts_with('^');
    if (without) part.remove_prefix(1);
    const std::size_t dash = part.find('-');
    const auto first = whole_number(part.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : whole_number(part.substr(dash + 1));
    if (!first || !last || *first > *last || *last >= most_cpus) return bad();
    for (u64 i = *first; i <= *last; ++i) set[i] = !without;
  }
  std::string out;
  for (std::size_t i = 0; i < most_cpus; ++i) {
    if (!set[i]) continue;
    std::size_t last = i;
    while (last + 1 < most_cpus && set[last + 1]) ++last;
    out += fmt::format("{}{}", out.empty() ? "" : ",", i);
    if (last != i) out += fmt::format("-{}", last);
    i = last;
  }
  if (out.empty()) return bad();
  if (out.size() > 256) return fail(fmt::format("'{}'", proto::printable(text, 64)), "it has too many parts");
  return out;
}

}  // namespace nagaya::definition::libvirt
