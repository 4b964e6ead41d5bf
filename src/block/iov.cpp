#include "block/iov.hpp"

#include <algorithm>
#include <cstring>

namespace nagaya::block {
namespace {

// Calls `use(pointer, count, done)` for each piece of [skip, skip+length).
template <class F>
void each_piece(Iov iov, u64 skip, u64 length, F use) {
  u64 done = 0;
  for (const iovec& part : iov) {
    if (done == length) return;
    if (skip >= part.iov_len) {
      skip -= part.iov_len;
      continue;
    }
    const u64 count = std::min<u64>(part.iov_len - skip, length - done);
    use(static_cast<u8*>(part.iov_base) + skip, count, done);
    done += count;
    skip = 0;
  }
}

}  // namespace

u64 iov_length(Iov iov) {
  u64 sum = 0;
  for (const iovec& part : iov)
    if (__builtin_add_overflow(sum, part.iov_len, &sum)) return ~u64{0};
  return sum;
}

std::vector<iovec> iov_slice(Iov iov, u64 skip, u64 length) {
  std::vector<iovec> out;
  each_piece(iov, skip, length, [&](u8* at, u64 count, u64) { out.push_back({at, count}); });
  return out;
}

void iov_zero(Iov iov, u64 skip, u64 length) {
  each_piece(iov, skip, length, [](u8* at, u64 count, u64) { std::memset(at, 0, count); });
}

void iov_gather(Iov iov, u64 skip, std::span<u8> to) {
  each_piece(iov, skip, to.size(), [&](u8* at, u64 count, u64 done) { std::memcpy(to.data() + done, at, count); });
}

void iov_scatter(Iov iov, u64 skip, std::span<const u8> from) {
  each_piece(iov, skip, from.size(), [&](u8* at, u64 count, u64 done) { std::memcpy(at, from.data() + done, count); });
}

}  // namespace nagaya::block
