// Numbers and structures of VIRTIO 1.2, 5.2.
#pragma once
#include "virtio/features.hpp"

namespace nagaya::virtio::blk {

inline constexpr u64 f_seg_max = feature(2), f_read_only = feature(5), f_block_size = feature(6), f_flush = feature(9),
                     f_topology = feature(10), f_write_cache = feature(11), f_multi_queue = feature(12),
                     f_discard = feature(13), f_write_zeroes = feature(14);

/// Offsets in the configuration space (5.2.4).
inline constexpr u64 at_capacity = 0, at_seg_max = 12, at_block_size = 20, at_physical_exponent = 24, at_min_io = 26,
                     at_optimal_io = 28, at_write_back = 32, at_queues = 34, at_max_discard = 36,
                     at_max_discard_segments = 40, at_discard_alignment = 44, at_max_zeroes = 48,
                     at_max_zeroes_segments = 52, at_zeroes_unmap = 56, config_size = 60;

inline constexpr u32 type_in = 0, type_out = 1, type_flush = 4, type_get_id = 8, type_discard = 11,
                     type_write_zeroes = 13;
inline constexpr u8 status_ok = 0, status_error = 1, status_unsupported = 2;
inline constexpr std::size_t serial_size = 20;
inline constexpr u32 range_unmap = 1;
/// 1 GiB at a time: longer ones would hold a stop for too long.
inline constexpr u32 most_range_sectors = 1u << 21;

struct Header {
  u32 type, reserved;
  u64 sector;
};
struct Range {
  u64 sector;
  u32 sectors, flags;
};
static_assert(sizeof(Header) == 16 && sizeof(Range) == 16);

}  // namespace nagaya::virtio::blk
