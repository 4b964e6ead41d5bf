#include "net/mac.hpp"

#include <fmt/format.h>

namespace nagaya::net {

std::optional<Mac> parse_mac(std::string_view text) {
  if (text.size() != 17) return {};
  Mac out{};
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (i % 3 == 2) {
      if (c != ':') return {};
      continue;
    }
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return {};
    out[i / 3] = static_cast<u8>(out[i / 3] << 4 | digit);
  }
  return out;
}

std::string to_string(const Mac& mac) {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

Mac mac_of_name(std::string_view machine, unsigned card) {
  // FNV-1a, 64 bits: not secret, only spread out, and the same for ever.
  u64 hash = 0xcbf29ce484222325;
  const auto add = [&](u8 byte) { hash = (hash ^ byte) * 0x100000001b3; };
  for (const char c : machine) add(static_cast<u8>(c));
  add(0);
  for (unsigned i = 0; i < 4; ++i) add(static_cast<u8>(card >> 8 * i));
  hash ^= hash >> 32;
  Mac out;
  for (unsigned i = 0; i < 6; ++i) out[i] = static_cast<u8>(hash >> 8 * i);
  out[0] = static_cast<u8>((out[0] & 0xfc) | 0x02);  // local, for one station
  return out;
}

}  // namespace nagaya::net
