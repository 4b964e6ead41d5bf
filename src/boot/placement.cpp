#include "boot/placement.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "boot/bytes.hpp"
#include "x86/pc_layout.hpp"

namespace nagaya::boot {

Placement::Placement(const MemoryMap& map) {
  for (const MemoryRange& range : map.ranges()) {
    if (range.kind != MemoryKind::ram) continue;
    ram_.push_back({range.base, range.base + range.size, "RAM"});
    if (range.base < 4 * GiB) low_ram_end_ = std::min(range.base + range.size, 4 * GiB);
  }
  taken_.push_back({0, page_size, "the BIOS data area"});
}

Result<> Placement::claim(std::string what, u64 base, u64 size) {
  if (size == 0) return {};
  if (size > ~u64{0} - base) {
    return fail(fmt::format("cannot place {}", what), fmt::format("{:#x} bytes at {:#x} wrap around", size, base));
  }
  const u64 end = base + size;
  const bool in_ram = std::ranges::any_of(ram_, [&](const Range& r) { return base >= r.base && end <= r.end; });
  if (!in_ram) {
    return fail(fmt::format("cannot place {} at {:#x}..{:#x}", what, base, end - 1),
                fmt::format("that is not RAM; low RAM ends at {:#x}", low_ram_end_),
                end <= 3 * GiB && base >= MiB ? "give the guest more memory" : "");
  }
  for (const Range& other : taken_) {
    if (base < other.end && end > other.base) {
      return fail(fmt::format("cannot place {} at {:#x}..{:#x}", what, base, end - 1),
                  fmt::format("it overlaps {} at {:#x}..{:#x}", other.what, other.base, other.end - 1));
    }
  }
  taken_.push_back({base, end, std::move(what)});
  std::ranges::sort(taken_, {}, &Range::base);
  return {};
}

std::vector<Placement::Range> Placement::free_ranges() const {
  std::vector<Range> out;
  for (const Range& ram : ram_) {
    u64 at = ram.base;
    for (const Range& taken : taken_) {
      if (taken.end <= at || taken.base >= ram.end) continue;
      if (taken.base > at) out.push_back({at, taken.base, {}});
      at = taken.end;
    }
    if (at < ram.end) out.push_back({at, ram.end, {}});
  }
  return out;
}

Error Placement::no_room(const std::string& what, u64 size) const {
  return {fmt::format("cannot place {}", what),
          fmt::format("no free run of {} KiB in the guest's RAM below its limit", (size + KiB - 1) / KiB),
          "give the guest more memory"};
}

Result<u64> Placement::lowest(std::string what, u64 size, u64 align, u64 low, u64 high) {
  for (const Range& range : free_ranges()) {
    const u64 end = std::min(range.end, high);
    const u64 base = align_up(std::max(range.base, low), align);
    if (base < end && end - base >= size) {
      TRY(claim(std::move(what), base, size));
      return base;
    }
  }
  return std::unexpected(no_room(what, size));
}

Result<u64> Placement::highest(std::string what, u64 size, u64 align, u64 low, u64 high) {
  const auto free = free_ranges();
  for (auto range = free.rbegin(); range != free.rend(); ++range) {
    const u64 end = std::min(range->end, high), start = std::max(range->base, low);
    if (end <= start || end - start < size) continue;
    const u64 base = align_down(end - size, align);
    if (base >= start) {
      TRY(claim(std::move(what), base, size));
      return base;
    }
  }
  return std::unexpected(no_room(what, size));
}

Result<u64> Placement::boot_data(std::string what, u64 size, u64 align) {
  if (auto low = lowest(what, size, align, page_size, x86::pc::ebda_base)) return low;
  return highest(std::move(what), size, align, MiB, 4 * GiB);
}

}  // namespace nagaya::boot
