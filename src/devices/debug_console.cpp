#include "devices/debug_console.hpp"

#include <algorithm>

namespace nagaya::devices {

void DebugConsole::io_read(u64, std::span<u8> data) { std::ranges::fill(data, u8{0xe9}); }

void DebugConsole::io_write(u64 offset, std::span<const u8> data) {
  // Of a wider access only the first byte reaches this port; the others go to ports that are not ours.
  if (offset == 0) (void)sink_.write(data.first(std::min<std::size_t>(data.size(), 1)));
}

}  // namespace nagaya::devices
