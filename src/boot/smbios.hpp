// SMBIOS: what "dmidecode" and inventory programs show. Source: DMTF DSP0134, System Management BIOS 3.0.
#pragma once
#include "boot/bytes.hpp"
#include "boot/platform.hpp"

namespace nagaya::boot {

/// Both entry points (3.0 64-bit and 2.8 32-bit) and the structures, for placing at guest-physical `base` (a multiple
/// of 16 in F0000h..FFFFFh).
Bytes build_smbios(const Platform& platform, u32 base);
/// The two parts by themselves, as firmware takes them from fw_cfg ("etc/smbios/…"): the 2.8 entry point with
/// address 0 (all firmware knows that one), and the structures.
Bytes smbios_anchor(const Platform& platform);
Bytes smbios_structures(const Platform& platform);

}  // namespace nagaya::boot
