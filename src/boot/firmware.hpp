// What a PC's firmware leaves in memory for the system it starts: BIOS data area, ACPI, MP and SMBIOS tables.
#pragma once
#include "base/result.hpp"
#include "boot/platform.hpp"
#include "memory/guest_memory.hpp"

namespace nagaya::boot {

/// Writes all of them below 1 MiB (x86/pc_layout.hpp says where) and returns the address of the ACPI root pointer.
Result<u64> write_firmware_tables(memory::GuestMemory& memory, const Platform& platform);

}  // namespace nagaya::boot
