// What passes between a machine's network card and the outside: a message is a header of 12 bytes and an Ethernet frame;
// a message of exactly 4 bytes is control. Sources: VIRTIO 1.2, 5.1.6 (struct virtio_net_hdr, little-endian);
// Linux include/uapi/linux/if_tun.h (TUN_F_* bits).
#pragma once
#include <cstring>
#include <optional>
#include <span>

#include "base/types.hpp"

namespace nagaya::net {

struct Header {
  u8 flags = 0;
  u8 gso_type = 0;
  u16 hdr_len = 0;      ///< a hint only: bytes of headers in front of the payload
  u16 gso_size = 0;     ///< payload bytes of each segment
  u16 csum_start = 0;   ///< where the checksum begins, from the frame's first byte
  u16 csum_offset = 0;  ///< where it belongs, from csum_start
  u16 num_buffers = 0;  ///< towards a guest only; 0 on the wire
  bool operator==(const Header&) const = default;
};
static_assert(sizeof(Header) == 12);

namespace flag {
inline constexpr u8 needs_csum = 1;  ///< the field at csum_start + csum_offset holds the pseudo header's sum only
inline constexpr u8 data_valid = 2;  ///< checksums were verified
}  // namespace flag

namespace gso {
inline constexpr u8 none = 0, tcp4 = 1, udp_fragments = 3, tcp6 = 4, udp = 5;
inline constexpr u8 ecn = 0x80;  ///< beside a TCP type
}  // namespace gso

/// What an end can receive; same values as TUN_F_*.
namespace offload {
inline constexpr u32 csum = 0x01, tso4 = 0x02, tso6 = 0x04, tso_ecn = 0x08, ufo = 0x10, uso4 = 0x20, uso6 = 0x40;
inline constexpr u32 all = csum | tso4 | tso6 | tso_ecn | uso4 | uso6;  ///< UFO is history: nobody sends it any more
inline constexpr u32 segmentation = tso4 | tso6 | ufo | uso4 | uso6;
}  // namespace offload

inline constexpr std::size_t header_size = sizeof(Header), ethernet_size = 14, vlan_size = 4;
/// A frame is at most an IP packet of 64 KiB with its Ethernet header and a VLAN tag.
inline constexpr std::size_t largest_frame = 65535 + ethernet_size + vlan_size, largest_message = header_size + largest_frame;
inline constexpr std::size_t control_size = 4;

/// The offload bits of a control message.
inline u32 control_bits(std::span<const u8, control_size> message) {
  u32 bits;
  std::memcpy(&bits, message.data(), sizeof bits);
  return bits;
}

/// The offloads a header asks its receiver for. Call it on checked headers only.
[[nodiscard]] u32 wanted_offloads(const Header& header);

/// Checks a header that comes from someone else against its frame's size. Gives the header as it may be used (flags that we
/// do not know, and hints that cannot be, are gone), or nothing when it makes no sense: the packet is to be dropped. Looks
/// at no byte of the frame: lengths inside it are still its sender's claims.
[[nodiscard]] std::optional<Header> checked(const Header& header, std::size_t frame_size);

}  // namespace nagaya::net
