// Packets of the socket device as they lie in its rings (VIRTIO 1.2, 5.10.6), little-endian.
#pragma once
#include <array>
#include <span>

#include "base/types.hpp"
#include "bus/bytes.hpp"

namespace nagaya::virtio::vsock {

inline constexpr u64 f_stream = u64{1} << 0, f_seqpacket = u64{1} << 1;
inline constexpr u64 host_cid = 2;
inline constexpr std::size_t header_size = 44;
inline constexpr u32 event_transport_reset = 0;

enum class Type : u16 { stream = 1, seqpacket = 2 };
enum class Op : u16 {
  request = 1,
  response = 2,
  rst = 3,
  shutdown = 4,
  rw = 5,
  credit_update = 6,
  credit_request = 7,
};
/// Flags of `shutdown`: the sender will receive, or send, no more.
inline constexpr u32 shutdown_receive = 1, shutdown_send = 2, shutdown_both = 3;
/// Flag of `rw` on a seqpacket: the message ends here.
inline constexpr u32 end_of_message = 1;

struct Header {
  u64 src_cid = 0, dst_cid = 0;
  u32 src_port = 0, dst_port = 0;
  u32 length = 0;
  u16 type = 0, op = 0;
  u32 flags = 0;
  u32 buf_alloc = 0, fwd_cnt = 0;

  [[nodiscard]] static Header decode(std::span<const u8, header_size> bytes) {
    const auto at = [&](std::size_t offset, std::size_t size) { return bus::load_le(bytes.subspan(offset, size)); };
    return {at(0, 8), at(8, 8), static_cast<u32>(at(16, 4)), static_cast<u32>(at(20, 4)), static_cast<u32>(at(24, 4)),
            static_cast<u16>(at(28, 2)), static_cast<u16>(at(30, 2)), static_cast<u32>(at(32, 4)),
            static_cast<u32>(at(36, 4)), static_cast<u32>(at(40, 4))};
  }
  [[nodiscard]] std::array<u8, header_size> encode() const {
    std::array<u8, header_size> out;
    const auto put = [&](std::size_t offset, std::size_t size, u64 value) {
      bus::store_le(std::span(out).subspan(offset, size), value);
    };
    put(0, 8, src_cid);
    put(8, 8, dst_cid);
    put(16, 4, src_port);
    put(20, 4, dst_port);
    put(24, 4, length);
    put(28, 2, type);
    put(30, 2, op);
    put(32, 4, flags);
    put(36, 4, buf_alloc);
    put(40, 4, fwd_cnt);
    return out;
  }
};

}  // namespace nagaya::virtio::vsock
