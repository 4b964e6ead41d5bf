// The memory map told to the guest (ACPI 6.5, 15.1 "INT 15H, E820H"; Linux boot_params; PVH and multiboot maps).
#pragma once
#include <span>
#include <vector>

#include "base/types.hpp"
#include "memory/guest_memory.hpp"

namespace nagaya::boot {

enum class MemoryKind : u32 { ram = 1, reserved = 2, acpi_reclaim = 3, acpi_nvs = 4, unusable = 5 };

struct MemoryRange {
  u64 base = 0, size = 0;  ///< bytes
  MemoryKind kind = MemoryKind::ram;
  bool operator==(const MemoryRange&) const = default;
};

/// Sorted ranges without overlap; neighbours of one kind are merged. What lies in none of them is empty address space.
class MemoryMap {
 public:
  /// Adds [base, base+size); where it overlaps earlier ranges the new kind wins. Empty and wrapping ranges are cut.
  void set(u64 base, u64 size, MemoryKind kind);
  [[nodiscard]] std::span<const MemoryRange> ranges() const { return ranges_; }
  /// Bytes of one kind.
  [[nodiscard]] u64 total(MemoryKind kind) const;

 private:
  std::vector<MemoryRange> ranges_;
};

/// The PC's map: RAM regions of `memory`, its ROMs, and what the PC reserves (EBDA, BIOS tables, ECAM, APICs,
/// firmware).
MemoryMap build_memory_map(const memory::GuestMemory& memory);

}  // namespace nagaya::boot
