#include "api/text.hpp"

#include <fmt/format.h>

namespace nagaya::api {

std::string base64url(std::span<const u8> bytes) {
  static constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  u32 buffer = 0;
  int bits = 0;
  for (const u8 byte : bytes) {
    buffer = (buffer << 8) | byte;
    for (bits += 8; bits >= 6;) {
      bits -= 6;
      out += digits[(buffer >> bits) & 63];
    }
  }
  if (bits > 0) out += digits[(buffer << (6 - bits)) & 63];
  return out;
}

std::string hexadecimal(std::span<const u8> bytes) {
  std::string out;
  for (const u8 byte : bytes) out += fmt::format("{:02x}", byte);
  return out;
}

}  // namespace nagaya::api
