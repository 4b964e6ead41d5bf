// Bytes of Ethernet, IP, TCP and UDP headers: big-endian access, and where headers lie in a frame, with lengths checked.
// Sources: RFC 791, 768, 9293, 8200 (headers); IEEE 802.1Q (tag).
#pragma once
#include <optional>
#include <span>

#include "base/types.hpp"

namespace nagaya::netd {

inline u16 get16(const u8* p) { return static_cast<u16>(p[0] << 8 | p[1]); }
inline u32 get32(const u8* p) { return u32{get16(p)} << 16 | get16(p + 2); }
inline void put16(u8* p, u16 v) {
  p[0] = static_cast<u8>(v >> 8);
  p[1] = static_cast<u8>(v);
}
inline void put32(u8* p, u32 v) {
  put16(p, static_cast<u16>(v >> 16));
  put16(p + 2, static_cast<u16>(v));
}

inline constexpr u16 ethertype_ip4 = 0x0800, ethertype_arp = 0x0806, ethertype_vlan = 0x8100, ethertype_ip6 = 0x86dd;
inline constexpr u8 protocol_tcp = 6, protocol_udp = 17;

/// Where the headers of a TCP or UDP packet lie in its frame. IPv6 with extension headers, and fragments, give nothing.
struct Transport {
  std::size_t ip = 0;         ///< offset of the IP header
  std::size_t transport = 0;  ///< of the TCP or UDP header
  std::size_t payload = 0;    ///< behind it
  std::size_t end = 0;        ///< of the packet by the IP header's word, inside the frame
  bool v6 = false;
  u8 protocol = 0;
};
[[nodiscard]] std::optional<Transport> find_transport(std::span<const u8> frame);

}  // namespace nagaya::netd
