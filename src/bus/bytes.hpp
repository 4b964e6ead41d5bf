// Little-endian values in access buffers of any size.
#pragma once
#include <algorithm>
#include <span>

#include "base/types.hpp"

namespace nagaya::bus {

/// The value of up to 8 bytes.
[[nodiscard]] inline u64 load_le(std::span<const u8> data) {
  u64 value = 0;
  for (std::size_t i = 0; i < data.size() && i < 8; ++i) value |= static_cast<u64>(data[i]) << (8 * i);
  return value;
}

/// Stores the low bytes of `value`; bytes past the eighth become zero.
inline void store_le(std::span<u8> data, u64 value) {
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = i < 8 ? static_cast<u8>(value >> (8 * i)) : u8{0};
}

/// What an access that nobody answers reads.
inline void read_ones(std::span<u8> data) { std::ranges::fill(data, u8{0xff}); }

}  // namespace nagaya::bus
