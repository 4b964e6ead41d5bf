// Scatter-gather lists: cutting, filling, copying.
#pragma once
#include <sys/uio.h>

#include <span>
#include <vector>

#include "base/types.hpp"

namespace nagaya::block {

using Iov = std::span<const iovec>;

/// Sum of the lengths; saturates.
[[nodiscard]] u64 iov_length(Iov iov);
/// The bytes [skip, skip+length) as a list of its own.
[[nodiscard]] std::vector<iovec> iov_slice(Iov iov, u64 skip, u64 length);
void iov_zero(Iov iov, u64 skip, u64 length);
/// Copies out of the list into `to`, from byte `skip` on.
void iov_gather(Iov iov, u64 skip, std::span<u8> to);
/// Copies `from` into the list, from byte `skip` on.
void iov_scatter(Iov iov, u64 skip, std::span<const u8> from);

/// A list of one buffer.
struct OneBuffer {
  iovec one;
  OneBuffer(const void* data, u64 size) : one{const_cast<void*>(data), size} {}
  operator Iov() const { return {&one, 1}; }
};

}  // namespace nagaya::block
