// Strong integer types for the three address spaces, and short names for fixed-width integers.
#pragma once
#include <compare>
#include <cstddef>
#include <cstdint>

namespace nagaya {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i8 = std::int8_t;
using i16 = std::int16_t;
using i32 = std::int32_t;
using i64 = std::int64_t;

/// An address that cannot be mixed up with an address of another space. Units: bytes.
template <class Tag>
struct Address {
  u64 value = 0;
  constexpr Address() = default;
  constexpr explicit Address(u64 v) : value(v) {}
  constexpr auto operator<=>(const Address&) const = default;
  constexpr Address operator+(u64 n) const { return Address(value + n); }
  constexpr u64 operator-(Address o) const { return value - o.value; }
};

struct GpaTag;
struct GvaTag;
using Gpa = Address<GpaTag>;  ///< guest physical address
using Gva = Address<GvaTag>;  ///< guest virtual (linear) address
using Hva = std::byte*;       ///< host virtual address of guest memory

inline constexpr u64 page_size = 4096;
inline constexpr u64 KiB = 1024, MiB = 1024 * KiB, GiB = 1024 * MiB;

}  // namespace nagaya
