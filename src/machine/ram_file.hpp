// Guest RAM in a file: runs of pages in ascending order, each with its checksum; pages of zeros are left out.
#pragma once
#include "base/result.hpp"
#include "memory/guest_memory.hpp"

namespace nagaya::machine {

/// Writes all RAM to `fd` at its file position. No vCPU may run.
Result<> write_ram(int fd, const memory::GuestMemory& memory);
/// Fills RAM (which reads as zeros now) from `fd`; refuses what is damaged, out of order, or outside RAM. On error RAM
/// is partly filled.
Result<> read_ram(int fd, memory::GuestMemory& memory);

}  // namespace nagaya::machine
