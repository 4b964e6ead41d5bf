#include "init/dhcp.hpp"

#include <algorithm>
#include <cstring>

namespace nagaya::init {
namespace {

constexpr std::size_t options_at = 240;  // after the header of BOOTP and the cookie
constexpr u8 cookie[] = {99, 130, 83, 99};

void put32(std::vector<u8>& out, std::size_t at, u32 value) {
  for (unsigned i = 0; i < 4; ++i) out[at + i] = static_cast<u8>(value >> (24 - 8 * i));
}

u32 get32(std::span<const u8> in) { return u32{in[0]} << 24 | u32{in[1]} << 16 | u32{in[2]} << 8 | in[3]; }

void option(std::vector<u8>& out, u8 code, std::span<const u8> value) {
  out.push_back(code);
  out.push_back(static_cast<u8>(value.size()));
  out.insert(out.end(), value.begin(), value.end());
}

void option32(std::vector<u8>& out, u8 code, u32 value) {
  const u8 bytes[] = {static_cast<u8>(value >> 24), static_cast<u8>(value >> 16), static_cast<u8>(value >> 8), static_cast<u8>(value)};
  option(out, code, bytes);
}

}  // namespace

std::vector<u8> dhcp_message(DhcpKind kind, u32 transaction, const std::array<u8, 6>& mac, const Lease& offer, const std::string& hostname) {
  std::vector<u8> out(options_at);
  out[0] = 1;  // a request
  out[1] = 1;  // Ethernet
  out[2] = 6;
  put32(out, 4, transaction);
  out[10] = 0x80;  // the answer by broadcast: there is no address to send it to
  std::ranges::copy(mac, out.begin() + 28);
  std::ranges::copy(cookie, out.begin() + 236);
  const u8 type[] = {static_cast<u8>(kind)};
  option(out, 53, type);
  if (kind == DhcpKind::request) {
    option32(out, 50, offer.address);
    option32(out, 54, offer.server);
  }
  const u8 wanted[] = {1, 3, 6, 15};  // mask, router, name servers, domain
  option(out, 55, wanted);
  if (!hostname.empty() && hostname.size() <= 63) option(out, 12, std::span(reinterpret_cast<const u8*>(hostname.data()), hostname.size()));
  out.push_back(255);
  out.resize(std::max<std::size_t>(out.size(), 300));  // what old servers want at least
  return out;
}

std::optional<std::pair<DhcpKind, Lease>> parse_dhcp(std::span<const u8> in, u32 transaction, const std::array<u8, 6>& mac) {
  if (in.size() < options_at || in[0] != 2 || get32(in.subspan(4)) != transaction) return std::nullopt;
  if (!std::ranges::equal(in.subspan(28, 6), mac) || !std::ranges::equal(in.subspan(236, 4), cookie)) return std::nullopt;
  Lease lease{.address = get32(in.subspan(16))};
  u8 kind = 0;
  for (std::size_t at = options_at; at < in.size() && in[at] != 255;) {
    const u8 code = in[at++];
    if (code == 0) continue;
    if (at == in.size() || in.size() - at - 1 < in[at]) return std::nullopt;
    const std::span<const u8> value = in.subspan(at + 1, in[at]);
    at += 1 + value.size();
    const u32 number = value.size() >= 4 ? get32(value) : 0;
    switch (code) {
      case 1: lease.mask = number; break;
      case 3: lease.router = number; break;
      case 6:
        for (std::size_t i = 0; i + 4 <= value.size() && lease.dns.size() < 3; i += 4) lease.dns.push_back(get32(value.subspan(i)));
        break;
      case 15:
        // It ends in a file: letters, digits, '-' and '.' only.
        lease.domain.assign(value.begin(), value.end());
        if (!std::ranges::all_of(lease.domain, [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '.'; })) lease.domain.clear();
        break;
      case 53: kind = value.empty() ? 0 : value[0]; break;
      case 54: lease.server = number; break;
      default: break;
    }
  }
  if (kind != 2 && kind != 5 && kind != 6) return std::nullopt;
  if (kind != 6 && lease.address == 0) return std::nullopt;
  return std::pair{static_cast<DhcpKind>(kind), lease};
}

}  // namespace nagaya::init
