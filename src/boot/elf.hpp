// ELF executables, 32- and 64-bit, as kernels: program headers and notes, all checked. Source: System V ABI, chapters 4
// and 5; sections are not looked at.
#pragma once
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"
#include "boot/placement.hpp"
#include "memory/guest_memory.hpp"

namespace nagaya::boot {

/// One PT_LOAD: `file` goes to `paddr`, zeros follow up to `memory_size`.
struct ElfSegment {
  u64 paddr = 0, vaddr = 0, memory_size = 0;
  std::span<const u8> file;
};

struct ElfNote {
  std::string_view owner;
  u32 type = 0;
  std::span<const u8> description;
};

/// A checked view into the file's bytes, which must outlive it.
struct ElfImage {
  bool is_64 = false;
  u64 entry = 0;
  std::vector<ElfSegment> segments;  ///< sorted by paddr, without overlap, none empty
  std::vector<ElfNote> notes;

  [[nodiscard]] const ElfNote* note(std::string_view owner, u32 type) const;
  /// True when a loaded segment holds the physical address.
  [[nodiscard]] bool holds(u64 paddr) const;
  [[nodiscard]] u64 lowest() const { return segments.front().paddr; }
  [[nodiscard]] u64 end() const { return segments.back().paddr + segments.back().memory_size; }
};

[[nodiscard]] bool looks_like_elf(std::span<const u8> file);
/// Error when it is not an x86 executable, or any header points outside the file.
Result<ElfImage> parse_elf(std::span<const u8> file);
/// Physical entry of the PVH ABI (note XEN_ELFNOTE_PHYS32_ENTRY = 18 of owner "Xen"), checked to be loaded; nothing
/// when there is none.
Result<std::optional<u32>> pvh_entry(const ElfImage& image);
/// True for a Linux kernel: it carries a note of owner "Linux" or the banner "Linux version ".
[[nodiscard]] bool is_linux(const ElfImage& image);
/// Claims the segments' places and copies them in. `zero` writes the parts without file content too.
Result<> load_elf(const ElfImage& image, memory::GuestMemory& memory, Placement& placement, bool zero);

}  // namespace nagaya::boot
