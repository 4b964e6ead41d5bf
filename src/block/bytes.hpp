// Big-endian fields in byte buffers, and arithmetic that image formats need.
#pragma once
#include <bit>
#include <cstring>

#include "base/types.hpp"

namespace nagaya::block {

template <class T>
[[nodiscard]] inline T load_be(const void* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
  if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
  if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
  return value;
}

template <class T>
inline void store_be(void* at, T value) {
  if constexpr (sizeof(T) == 2) value = __builtin_bswap16(value);
  if constexpr (sizeof(T) == 4) value = __builtin_bswap32(value);
  if constexpr (sizeof(T) == 8) value = __builtin_bswap64(value);
  std::memcpy(at, &value, sizeof value);
}

[[nodiscard]] constexpr u64 divide_up(u64 a, u64 b) { return a / b + (a % b != 0); }
/// `align` is a power of two; the sum must not overflow.
[[nodiscard]] constexpr u64 round_up(u64 a, u64 align) { return (a + align - 1) & ~(align - 1); }

}  // namespace nagaya::block
