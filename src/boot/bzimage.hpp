// The Linux x86 kernel image file ("bzImage"): set-up header and the compressed kernel inside.
// Source: Linux Documentation/arch/x86/boot.rst (protocol 2.00 to 2.15).
#pragma once
#include <span>
#include <string>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::boot {

/// Offsets in the image's first sectors and, equally, in struct boot_params (Documentation/arch/x86/zero-page.rst).
namespace zero_page {
inline constexpr u16 acpi_rsdp = 0x70, e820_count = 0x1e8, header = 0x1f1, boot_flag = 0x1fe, jump = 0x200,
                     magic = 0x202, version = 0x206, kernel_version = 0x20e, loader_type = 0x210, load_flags = 0x211,
                     code32_start = 0x214, ramdisk_address = 0x218, ramdisk_size = 0x21c, heap_end = 0x224,
                     cmdline_address = 0x228, initrd_max = 0x22c, kernel_alignment = 0x230, relocatable = 0x234,
                     xload_flags = 0x236, cmdline_size = 0x238, payload_offset = 0x248, payload_length = 0x24c,
                     setup_data = 0x250, preferred_address = 0x258, init_size = 0x260, e820_table = 0x2d0;
inline constexpr u32 size = 4096, e820_max = 128;
}  // namespace zero_page

/// The checked header; views point into the file, which must outlive it.
struct BzImage {
  std::span<const u8> header;   ///< the set-up header, to be copied to boot_params from 0x1f1 on
  std::span<const u8> code;     ///< protected-mode code, what a boot loader loads
  std::span<const u8>
      payload;  ///< the compressed kernel inside `code`; empty when the header does not say (before 2.08)
  std::string version_text;     ///< "6.1.0-56-cloud-amd64 (…) …"; may be empty
  u16 protocol = 0;             ///< 0x20f is 2.15
  bool kernel_64 = false;       ///< has the 64-bit entry at code + 0x200
  bool relocatable = false;
  u32 alignment = 0;
  u64 load_address = 0;         ///< preferred address of `code`
  u64 init_size = 0;            ///< bytes that must be free from the load address on; at least code.size()
  u64 initrd_max = 0;           ///< highest address an initrd's last byte may have
  u32 cmdline_max = 0;          ///< bytes without the final NUL
};

[[nodiscard]] bool looks_like_bzimage(std::span<const u8> file);
Result<BzImage> parse_bzimage(std::span<const u8> file);

}  // namespace nagaya::boot
