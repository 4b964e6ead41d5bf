#include "net/ip.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <charconv>

namespace nagaya::net {

std::string Ip4::text() const { return fmt::format("{}.{}.{}.{}", value >> 24, value >> 16 & 255, value >> 8 & 255, value & 255); }

Result<Ip4> Ip4::parse(std::string_view text) {
  in_addr raw{};
  if (::inet_pton(AF_INET, std::string(text).c_str(), &raw) != 1) return fail(fmt::format("'{}' is no IPv4 address", text));
  return Ip4{ntohl(raw.s_addr)};
}

std::string Net4::text() const { return fmt::format("{}/{}", base.text(), prefix); }

Result<Net4> Net4::parse(std::string_view text) {
  const auto bad = [&](std::string why) { return fail(fmt::format("'{}' is no subnet", text), std::move(why), "write for instance 10.0.2.0/24"); };
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return bad("the length of its prefix is missing");
  const std::string_view digits = text.substr(slash + 1);
  Net4 out;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out.prefix);
  if (error != std::errc{} || end != digits.data() + digits.size() || out.prefix < 8 || out.prefix > 29) return bad("its prefix must be from /8 to /29");
  auto base = Ip4::parse(text.substr(0, slash));
  if (!base) return bad(base.error().what);
  out.base = *base;
  if ((out.base.value & ~out.mask()) != 0) return bad("bits behind the prefix are set");
  const u32 first = out.base.value >> 24;
  if (first == 0 || first == 127 || first >= 224) return bad("those addresses have another meaning");
  return out;
}

}  // namespace nagaya::net
