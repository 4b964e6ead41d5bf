// In which state the boot processor enters a kernel, for each boot protocol.
#pragma once
#include "base/result.hpp"
#include "boot/placement.hpp"
#include "memory/guest_memory.hpp"
#include "x86/cpu_state.hpp"

namespace nagaya::boot {

/// Linux 64-bit entry: long mode, first 4 GiB mapped onto themselves, CS=0x10, DS=ES=SS=0x18, RSI=`boot_params`.
/// Writes descriptor and page tables to memory. boot.rst, "64-bit Boot Protocol".
Result<x86::CpuState> linux64_entry(memory::GuestMemory& memory, Placement& placement, u64 entry, u64 boot_params);
/// Linux 32-bit entry: flat segments CS=0x10, DS=ES=SS=0x18, no paging, ESI=`boot_params`. boot.rst, "32-bit Boot
/// Protocol".
Result<x86::CpuState> linux32_entry(memory::GuestMemory& memory, Placement& placement, u32 entry, u32 boot_params);
/// PVH: flat 32-bit segments, EBX=`start_info`, 32-bit TSS. xen docs/misc/pvh.pandoc.
Result<x86::CpuState> pvh_entry_state(memory::GuestMemory& memory, Placement& placement, u32 entry, u32 start_info);
/// Multiboot 0.6.96, 3.2: flat 32-bit segments, EAX=0x2BADB002, EBX=`info`.
Result<x86::CpuState> multiboot_entry(memory::GuestMemory& memory, Placement& placement, u32 entry, u32 info);

}  // namespace nagaya::boot
