// What the machine has, as far as the tables of its "firmware" tell it. Fixed addresses are in x86/pc_layout.hpp.
#pragma once
#include <array>
#include <string>

#include "base/types.hpp"

namespace nagaya::boot {

struct Platform {
  u32 cpus = 1;                    ///< 1..x86::pc::max_cpus; APIC id = index
  u32 serial_ports = 1;            ///< 0..4, at the PC's usual places
  bool vga = false;                ///< a VGA-compatible adapter exists
  bool i8042 = true;               ///< keyboard controller
  bool fw_cfg = true;              ///< QEMU-style firmware configuration device
  u64 ram_size = 0;                ///< bytes, for SMBIOS; load_kernel fills it in
  u64 ram_end = 0;                 ///< end (exclusive) of the highest RAM; load_kernel fills it in
  std::array<u8, 16> uuid{};       ///< SMBIOS system UUID in RFC 4122 byte order; all zero: not set
  std::string serial_number;       ///< SMBIOS; may be empty
};

}  // namespace nagaya::boot
