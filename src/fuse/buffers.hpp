// Scatter-gather buffers of a request. They are a guest's memory, whose bytes can change at any time: copy, then look.
#pragma once
#include <sys/uio.h>

#include <span>
#include <vector>

#include "base/types.hpp"

namespace nagaya::fuse {

[[nodiscard]] u64 total(std::span<const iovec> buffers);
/// Copies from byte `offset` on; returns how many bytes there were.
u64 gather(std::span<const iovec> buffers, u64 offset, std::span<u8> out);
/// Copies to byte `offset` on; returns how many bytes found room.
u64 scatter(std::span<const iovec> buffers, u64 offset, std::span<const u8> data);
/// Appends bytes [offset, offset + length), or as many as there are, to `out`.
void slice(std::span<const iovec> buffers, u64 offset, u64 length, std::vector<iovec>& out);

}  // namespace nagaya::fuse
