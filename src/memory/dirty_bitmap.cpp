#include "memory/dirty_bitmap.hpp"

#include <algorithm>
#include <bit>

namespace nagaya::memory {

DirtyBitmap::DirtyBitmap(std::span<const Region> regions) {
  for (const Region& region : regions) {
    if (region.readonly) continue;
    const u64 pages = region.size / page_size;
    runs_.push_back({region.gpa.value / page_size, pages, std::vector<std::atomic<u64>>((pages + 63) / 64)});
  }
}

void DirtyBitmap::mark(Gpa gpa, u64 size) {
  if (size == 0) return;
  const u64 first = gpa.value / page_size;
  const u64 last_byte = size - 1 > ~gpa.value ? ~u64{0} : gpa.value + size - 1;
  const u64 last = last_byte / page_size;
  for (Run& run : runs_) {
    const u64 from = std::max(first, run.first_page), to = std::min(last, run.first_page + run.pages - 1);
    for (u64 page = from; page <= to; ++page) {
      const u64 bit = page - run.first_page;
      run.bits[bit / 64].fetch_or(u64{1} << (bit % 64), std::memory_order_release);
    }
  }
}

void DirtyBitmap::mark_all() {
  for (Run& run : runs_) mark(Gpa(run.first_page * page_size), run.pages * page_size);
}

bool DirtyBitmap::test(Gpa gpa) const {
  const u64 page = gpa.value / page_size;
  for (const Run& run : runs_) {
    if (page < run.first_page || page - run.first_page >= run.pages) continue;
    const u64 bit = page - run.first_page;
    return run.bits[bit / 64].load(std::memory_order_acquire) >> (bit % 64) & 1;
  }
  return false;
}

std::vector<Gpa> DirtyBitmap::take() {
  std::vector<Gpa> out;
  for (Run& run : runs_) {
    for (std::size_t word = 0; word < run.bits.size(); ++word) {
      if (run.bits[word].load(std::memory_order_relaxed) == 0) continue;
      for (u64 bits = run.bits[word].exchange(0, std::memory_order_acq_rel); bits != 0; bits &= bits - 1) {
        out.push_back(Gpa((run.first_page + word * 64 + std::countr_zero(bits)) * page_size));
      }
    }
  }
  return out;
}

}  // namespace nagaya::memory
