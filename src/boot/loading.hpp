// A kernel load in progress, shared by the loaders of the boot protocols.
#pragma once
#include <optional>
#include <span>
#include <string>

#include "boot/boot.hpp"
#include "boot/elf.hpp"
#include "boot/placement.hpp"

namespace nagaya::boot {

struct Loading {
  memory::GuestMemory& memory;
  const BootConfig& config;
  BootPlan plan;
  Placement placement;

  /// Writes a NUL-terminated text into boot data; its address.
  Result<u32> text(std::string what, const std::string& value);
  /// Writes an initrd or module below `limit` (exclusive), as high as possible, page aligned; its address.
  Result<u32> blob(std::string what, std::span<const u8> bytes, u64 limit);
  /// Writes boot data wherever there is room; its address (below 4 GiB).
  Result<u32> data(std::string what, std::span<const u8> bytes, u64 align = 16);
};

Result<> load_bzimage(Loading& loading, std::span<const u8> file);
/// A bare Linux vmlinux, entered by the Linux protocol of its width.
Result<> load_linux_elf(Loading& loading, const ElfImage& image);
Result<> load_pvh(Loading& loading, const ElfImage& image, u32 entry);

/// The multiboot header inside a file.
struct MultibootHeader {
  u32 offset = 0, flags = 0;  ///< offset in the file, bytes
  u32 header_address = 0, load_address = 0, load_end = 0, bss_end = 0, entry = 0;  ///< valid with flag 16
  [[nodiscard]] bool has_addresses() const { return (flags >> 16 & 1) != 0; }
};
/// Looks through the first 8 KiB, aligned words, magic and checksum.
std::optional<MultibootHeader> find_multiboot(std::span<const u8> file);
/// `image`: the file as ELF when it is that.
Result<> load_multiboot(Loading& loading, const MultibootHeader& header, std::span<const u8> file,
                        const std::optional<ElfImage>& image);

}  // namespace nagaya::boot
