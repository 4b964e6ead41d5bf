#include "bus/resources.hpp"

#include <fmt/format.h>

#include <bit>

namespace nagaya::bus {

Result<u64> RangeAllocator::allocate(u64 size, u64 align) {
  const auto what = fmt::format("cannot allocate {:#x} bytes of {}", size, name_);
  if (size == 0 || !std::has_single_bit(align)) return fail(what, "size or alignment make no sense");
  auto aligned = [&](u64 at) { return (at + align - 1) & ~(align - 1); };
  u64 start = aligned(first_);
  bool wrapped = start < first_;
  for (const auto& [from, last] : taken_) {
    if (wrapped || start > last_) break;
    if (last < start) continue;
    if (start < from && from - start >= size) break;
    wrapped = last == ~u64{0} || aligned(last + 1) < last;
    start = aligned(last + 1);
  }
  if (wrapped || start > last_ || last_ - start < size - 1) {
    return fail(what, fmt::format("nothing free between {:#x} and {:#x}", first_, last_));
  }
  taken_[start] = start + (size - 1);
  return start;
}

Result<> RangeAllocator::reserve(u64 start, u64 size) {
  const auto what = fmt::format("cannot reserve {:#x} bytes of {} at {:#x}", size, name_, start);
  if (size == 0 || start < first_ || start > last_ || last_ - start < size - 1)
    return fail(what, "outside of the window");
  const u64 end = start + (size - 1);
  auto after = taken_.upper_bound(end);
  if (after != taken_.begin() && std::prev(after)->second >= start) return fail(what, "taken");
  taken_[start] = end;
  return {};
}

Result<unsigned> GsiAllocator::allocate() {
  if (free_ == 0) return fail("cannot allocate an interrupt line", "all are taken");
  const unsigned gsi = static_cast<unsigned>(std::countr_zero(free_));
  free_ &= free_ - 1;
  return gsi;
}

Result<> GsiAllocator::reserve(unsigned gsi) {
  if (gsi > 63 || !(free_ >> gsi & 1)) return fail(fmt::format("cannot reserve interrupt line {}", gsi), "taken");
  free_ &= ~(u64{1} << gsi);
  return {};
}

}  // namespace nagaya::bus
