#include "fuse/buffers.hpp"

#include <algorithm>
#include <cstring>

namespace nagaya::fuse {
namespace {

/// Calls `step(host, count)` for each run of [offset, offset + length); returns the bytes covered.
template <class Step>
u64 walk(std::span<const iovec> buffers, u64 offset, u64 length, Step step) {
  u64 done = 0;
  for (const iovec& buffer : buffers) {
    if (done == length) break;
    if (offset >= buffer.iov_len) {
      offset -= buffer.iov_len;
      continue;
    }
    const u64 count = std::min<u64>(buffer.iov_len - offset, length - done);
    step(static_cast<u8*>(buffer.iov_base) + offset, count);
    done += count;
    offset = 0;
  }
  return done;
}

}  // namespace

u64 total(std::span<const iovec> buffers) {
  u64 sum = 0;
  for (const iovec& buffer : buffers) sum += buffer.iov_len;
  return sum;
}

u64 gather(std::span<const iovec> buffers, u64 offset, std::span<u8> out) {
  u8* to = out.data();
  return walk(buffers, offset, out.size(), [&](const u8* host, u64 count) {
    std::memcpy(to, host, count);
    to += count;
  });
}

u64 scatter(std::span<const iovec> buffers, u64 offset, std::span<const u8> data) {
  const u8* from = data.data();
  return walk(buffers, offset, data.size(), [&](u8* host, u64 count) {
    std::memcpy(host, from, count);
    from += count;
  });
}

void slice(std::span<const iovec> buffers, u64 offset, u64 length, std::vector<iovec>& out) {
  walk(buffers, offset, length, [&](u8* host, u64 count) { out.push_back({host, count}); });
}

}  // namespace nagaya::fuse
