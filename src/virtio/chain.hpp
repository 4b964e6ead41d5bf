// One request as a driver offered it: buffers of guest memory that were copied from the ring and checked, once.
#pragma once
#include <sys/uio.h>

#include <span>
#include <vector>

#include "base/types.hpp"

namespace nagaya::virtio {

/// A run of guest memory inside one region. The guest may change the bytes at any time: copy before checking.
struct Segment {
  Gpa gpa;
  u32 length = 0;
  u8* host = nullptr;
};

/// Reused from pop to pop, so that its vectors keep their room.
struct Chain {
  u16 id = 0;     ///< split: head descriptor; packed: buffer id
  u16 slots = 0;  ///< ring slots it took (packed)
  std::vector<Segment> readable, writable;
  u64 readable_bytes = 0, writable_bytes = 0;

  void clear();
  /// Copies bytes [offset, offset + out.size()) of the readable part; returns how many there were.
  std::size_t read(u64 offset, std::span<u8> out) const;
  /// Copies `data` to the writable part at `offset`; returns how many bytes found room.
  std::size_t write(u64 offset, std::span<const u8> data) const;
  template <class T>
  bool read_value(u64 offset, T& value) const {
    return read(offset, std::span(reinterpret_cast<u8*>(&value), sizeof value)) == sizeof value;
  }
};

/// Bytes [offset, offset + length) of `segments` (or as many as there are) as scatter-gather entries, appended to `out`.
/// Returns the bytes covered.
u64 slice(std::span<const Segment> segments, u64 offset, u64 length, std::vector<iovec>& out);

}  // namespace nagaya::virtio
