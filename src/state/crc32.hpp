// CRC-32 (ISO 3309, the polynomial of zip and Ethernet).
#pragma once
#include <span>

#include "base/types.hpp"

namespace nagaya::state {

/// The CRC of `data`, continued from `seed`, the CRC of what came before (0 at the start).
[[nodiscard]] u32 crc32(std::span<const u8> data, u32 seed = 0);

}  // namespace nagaya::state
