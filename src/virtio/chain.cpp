#include "virtio/chain.hpp"

#include <algorithm>
#include <cstring>

namespace nagaya::virtio {
namespace {

/// Calls `step(host, count)` for each run of [offset, offset + length); returns the bytes covered.
template <class Step>
u64 walk(std::span<const Segment> segments, u64 offset, u64 length, Step step) {
  u64 done = 0;
  for (const Segment& segment : segments) {
    if (done == length) break;
    if (offset >= segment.length) {
      offset -= segment.length;
      continue;
    }
    const u64 count = std::min(segment.length - offset, length - done);
    step(segment.host + offset, count);
    done += count;
    offset = 0;
  }
  return done;
}

}  // namespace

void Chain::clear() {
  id = slots = 0;
  readable.clear();
  writable.clear();
  readable_bytes = writable_bytes = 0;
}

std::size_t Chain::read(u64 offset, std::span<u8> out) const {
  u8* to = out.data();
  return walk(readable, offset, out.size(), [&](const u8* host, u64 count) {
    std::memcpy(to, host, count);
    to += count;
  });
}

std::size_t Chain::write(u64 offset, std::span<const u8> data) const {
  const u8* from = data.data();
  return walk(writable, offset, data.size(), [&](u8* host, u64 count) {
    std::memcpy(host, from, count);
    from += count;
  });
}

u64 slice(std::span<const Segment> segments, u64 offset, u64 length, std::vector<iovec>& out) {
  return walk(segments, offset, length, [&](u8* host, u64 count) { out.push_back({host, count}); });
}

}  // namespace nagaya::virtio
