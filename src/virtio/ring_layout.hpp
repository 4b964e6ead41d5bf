// How rings lie in memory. Source: VIRTIO 1.2, 2.7.5 to 2.7.8 (split), 2.8.13 and 2.8.14 (packed).
#pragma once
#include <cstring>

#include "base/types.hpp"

namespace nagaya::virtio::ring {

inline constexpr u16 flag_next = 1, flag_write = 2, flag_indirect = 4, flag_avail = 1 << 7, flag_used = 1 << 15;
inline constexpr u16 no_interrupt = 1, no_notify = 1;
/// Packed rings' event suppression.
inline constexpr u16 events_all = 0, events_none = 1, events_slot = 2;

/// Loads and stores of fields that the other side changes meanwhile. Fields are aligned: enable() saw to that.
inline u16 load16(const u8* at, int order = __ATOMIC_RELAXED) {
  return __atomic_load_n(reinterpret_cast<const u16*>(at), order);
}
inline u32 load32(const u8* at) { return __atomic_load_n(reinterpret_cast<const u32*>(at), __ATOMIC_RELAXED); }
inline void store16(u8* at, u16 value, int order = __ATOMIC_RELAXED) {
  __atomic_store_n(reinterpret_cast<u16*>(at), value, order);
}
inline void store32(u8* at, u32 value) { __atomic_store_n(reinterpret_cast<u32*>(at), value, __ATOMIC_RELAXED); }

/// One descriptor; `other` is the next index (split) or the buffer id (packed).
struct Descriptor {
  u64 address;
  u32 length;
  u16 flags, other;
};

/// The one copy: the compiler may not read the guest's memory again in place of it.
inline Descriptor load_descriptor(const u8* at, bool packed) {
  struct {
    u64 address;
    u32 length;
    u16 first, second;
  } copy;
  static_assert(sizeof copy == 16);
  std::memcpy(&copy, at, sizeof copy);
  asm volatile("" : "+m"(copy) : : "memory");
  return packed ? Descriptor{copy.address, copy.length, copy.second, copy.first}
                : Descriptor{copy.address, copy.length, copy.first, copy.second};
}

}  // namespace nagaya::virtio::ring
