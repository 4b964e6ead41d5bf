// Little-endian bytes: a writer for tables that are built, a bounded reader for files that are not to be trusted.
#pragma once
#include <concepts>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/types.hpp"

namespace nagaya::boot {

using Bytes = std::vector<u8>;

/// The integer at `offset` of `data`, or nothing when it does not lie wholly inside.
template <std::unsigned_integral T>
[[nodiscard]] std::optional<T> peek(std::span<const u8> data, u64 offset) {
  if (offset > data.size() || data.size() - offset < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, data.data() + offset, sizeof value);  // the host is little-endian x86 like the guest
  return value;
}

/// [offset, offset + size) of `data`, or nothing when it does not lie wholly inside.
[[nodiscard]] inline std::optional<std::span<const u8>> slice(std::span<const u8> data, u64 offset, u64 size) {
  if (offset > data.size() || data.size() - offset < size) return std::nullopt;
  return data.subspan(offset, size);
}

template <std::unsigned_integral T>
void append(Bytes& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) out.push_back(static_cast<u8>(static_cast<u64>(value) >> (8 * i)));
}
inline void append(Bytes& out, std::span<const u8> data) { out.insert(out.end(), data.begin(), data.end()); }
/// Exactly `width` bytes: cut, or filled up with `fill`.
inline void append_text(Bytes& out, std::string_view text, std::size_t width, char fill = ' ') {
  for (std::size_t i = 0; i < width; ++i) out.push_back(static_cast<u8>(i < text.size() ? text[i] : fill));
}
inline void append_zeros(Bytes& out, std::size_t count) { out.insert(out.end(), count, u8{0}); }

/// Overwrites the integer at `offset`, which must lie inside.
template <std::unsigned_integral T>
void poke(std::span<u8> out, std::size_t offset, T value) {
  std::memcpy(out.subspan(offset, sizeof value).data(), &value, sizeof value);
}

/// The value that makes the bytes sum to zero (with the checksum field itself zero), as ACPI, MP and SMBIOS use it.
[[nodiscard]] inline u8 checksum(std::span<const u8> data) {
  u8 sum = 0;
  for (u8 byte : data) sum = static_cast<u8>(sum + byte);
  return static_cast<u8>(-sum);
}

[[nodiscard]] constexpr u64 align_up(u64 value, u64 align) { return (value + align - 1) / align * align; }
[[nodiscard]] constexpr u64 align_down(u64 value, u64 align) { return value / align * align; }

}  // namespace nagaya::boot
