#include "net/wire.hpp"

namespace nagaya::net {
namespace {

constexpr u16 tcp_csum_offset = 16, udp_csum_offset = 6;
// The smallest headers that a segment of each kind has: IPv4 or IPv6, and TCP or UDP.
constexpr std::size_t ip4_size = 20, ip6_size = 40, tcp_size = 20, udp_size = 8;

bool segments_well(const Header& header, std::size_t frame_size) {
  const u8 type = header.gso_type & static_cast<u8>(~gso::ecn);
  const bool tcp = type == gso::tcp4 || type == gso::tcp6;
  if (!tcp && type != gso::udp) return false;
  if (header.gso_type & gso::ecn && !tcp) return false;
  // Without a checksum to complete, a packet cannot be cut (5.1.6.2.1).
  if (!(header.flags & flag::needs_csum) || header.gso_size == 0) return false;
  if (header.csum_offset != (tcp ? tcp_csum_offset : udp_csum_offset)) return false;
  const std::size_t ip = type == gso::tcp6 ? ip6_size : ip4_size;
  if (header.csum_start < ethernet_size + ip) return false;
  return header.csum_start + (tcp ? tcp_size : udp_size) <= frame_size;
}

}  // namespace

u32 wanted_offloads(const Header& header) {
  u32 bits = header.flags & flag::needs_csum ? offload::csum : 0;
  switch (header.gso_type & ~gso::ecn) {
    case gso::tcp4: bits |= offload::tso4; break;
    case gso::tcp6: bits |= offload::tso6; break;
    case gso::udp: bits |= offload::uso4 | offload::uso6; break;
    default: break;
  }
  if (header.gso_type & gso::ecn) bits |= offload::tso_ecn;
  return bits;
}

std::optional<Header> checked(const Header& header, std::size_t frame_size) {
  if (frame_size < ethernet_size || frame_size > largest_frame) return {};
  Header out = header;
  out.flags &= flag::needs_csum | flag::data_valid;
  out.num_buffers = 0;
  if (out.flags & flag::needs_csum) {
    // Two bytes of checksum lie inside the frame, behind the Ethernet header.
    if (out.csum_start < ethernet_size || std::size_t{out.csum_start} + out.csum_offset + 2 > frame_size) return {};
  } else {
    out.csum_start = out.csum_offset = 0;
  }
  if (out.gso_type != gso::none) {
    if (!segments_well(out, frame_size)) return {};
    if (out.hdr_len > frame_size) out.hdr_len = 0;
  } else {
    out.gso_size = out.hdr_len = 0;
  }
  return out;
}

}  // namespace nagaya::net
