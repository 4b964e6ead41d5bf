#include "image/reference.hpp"

#include <fmt/core.h>

#include <algorithm>

namespace nagaya::image {
namespace {

bool lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool letter_or_digit(char c) { return lower_or_digit(c) || (c >= 'A' && c <= 'Z'); }

/// Letters and digits, between them runs of '.', '_', '-'. No part begins or ends with one of these.
bool path_part(std::string_view part, bool upper) {
  const auto plain = [&](char c) { return upper ? letter_or_digit(c) : lower_or_digit(c); };
  if (part.empty() || !plain(part.front()) || !plain(part.back())) return false;
  if (part.find("..") != std::string_view::npos) return false;
  return std::ranges::all_of(part, [&](char c) { return plain(c) || c == '.' || c == '_' || c == '-'; });
}

bool host_and_port(std::string_view part) {
  const std::size_t colon = part.find(':');
  const std::string_view port = colon == std::string_view::npos ? "" : part.substr(colon + 1);
  if (colon != std::string_view::npos &&
      (port.empty() || port.size() > 5 || !std::ranges::all_of(port, [](char c) { return c >= '0' && c <= '9'; })))
    return false;
  return path_part(part.substr(0, colon), true);
}

bool good_tag(std::string_view tag) {
  if (tag.empty() || tag.size() > 128 || (!letter_or_digit(tag.front()) && tag.front() != '_')) return false;
  return std::ranges::all_of(tag, [](char c) { return letter_or_digit(c) || c == '_' || c == '.' || c == '-'; });
}

bool good_name(std::string_view name) {
  if (name.empty() || name.size() > 255) return false;
  bool first = true;
  for (std::size_t start = 0;;) {
    const std::size_t slash = name.find('/', start);
    const std::string_view part = name.substr(start, slash == std::string_view::npos ? slash : slash - start);
    const bool more = slash != std::string_view::npos;
    if (!(first && more ? host_and_port(part) : path_part(part, false))) return false;
    if (!more) return true;
    first = false;
    start = slash + 1;
  }
}

}  // namespace

Result<Reference> Reference::parse(std::string_view text) {
  Reference out;
  const std::size_t slash = text.rfind('/');
  const std::size_t colon = text.rfind(':');
  const bool tagged = colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash);
  out.name = text.substr(0, tagged ? colon : std::string_view::npos);
  if (tagged) out.tag = text.substr(colon + 1);
  if (!good_name(out.name) || !good_tag(out.tag)) {
    return fail(fmt::format("'{}' names no image", text.substr(0, 300)), "not of the form NAME[:TAG]",
                "lower-case letters, digits and single '.', '_', '-', '/' between them");
  }
  return out;
}

}  // namespace nagaya::image
