#include "boot/e820.hpp"

#include <algorithm>

#include "x86/pc_layout.hpp"

namespace nagaya::boot {

void MemoryMap::set(u64 base, u64 size, MemoryKind kind) {
  if (size > ~u64{0} - base) size = ~u64{0} - base;
  if (size == 0) return;
  const u64 end = base + size;
  std::vector<MemoryRange> next;
  for (const MemoryRange& old : ranges_) {
    const u64 old_end = old.base + old.size;
    if (old_end <= base || old.base >= end) {
      next.push_back(old);
      continue;
    }
    if (old.base < base) next.push_back({old.base, base - old.base, old.kind});
    if (old_end > end) next.push_back({end, old_end - end, old.kind});
  }
  next.push_back({base, size, kind});
  std::ranges::sort(next, {}, &MemoryRange::base);
  ranges_.clear();
  for (const MemoryRange& range : next) {
    if (!ranges_.empty() && ranges_.back().kind == range.kind &&
        ranges_.back().base + ranges_.back().size == range.base) {
      ranges_.back().size += range.size;
    } else {
      ranges_.push_back(range);
    }
  }
}

u64 MemoryMap::total(MemoryKind kind) const {
  u64 sum = 0;
  for (const MemoryRange& range : ranges_) {
    if (range.kind == kind) sum += range.size;
  }
  return sum;
}

MemoryMap build_memory_map(const memory::GuestMemory& memory) {
  namespace pc = x86::pc;
  MemoryMap map;
  for (const memory::Region& region : memory.regions()) {
    // The device tells of persistent memory, not this map.
    if (region.kind == memory::RegionKind::file) continue;
    map.set(region.gpa.value, region.size, region.is_ram() ? MemoryKind::ram : MemoryKind::reserved);
  }
  // Below 1 MiB: the EBDA, the VGA hole and the BIOS area are not for use as RAM, whatever backs them.
  map.set(pc::ebda_base, pc::vga_hole - pc::ebda_base, MemoryKind::reserved);
  MemoryMap low = map;
  map = {};
  for (const MemoryRange& range : low.ranges()) {
    // The VGA hole is described by no entry at all, as PC firmware does it.
    const u64 end = range.base + range.size;
    if (range.base < pc::vga_hole) map.set(range.base, std::min(end, pc::vga_hole) - range.base, range.kind);
    if (end > pc::bios_tables_base) {
      const u64 base = std::max(range.base, pc::bios_tables_base);
      map.set(base, end - base, range.kind);
    }
  }
  map.set(pc::bios_tables_base, pc::bios_tables_end - pc::bios_tables_base, MemoryKind::reserved);
  // Linux uses ECAM only when the map or the ACPI name space reserves it.
  map.set(pc::ecam_base, pc::ecam_size, MemoryKind::reserved);
  map.set(pc::ioapic_base, pc::ioapic_size, MemoryKind::reserved);
  map.set(pc::lapic_base, pc::lapic_size, MemoryKind::reserved);
  map.set(pc::firmware_end - pc::firmware_window, pc::firmware_window, MemoryKind::reserved);
  return map;
}

}  // namespace nagaya::boot
