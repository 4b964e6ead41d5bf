// Which pages of guest RAM were written: one bit per page, set from any thread without locks.
#pragma once
#include <atomic>
#include <span>
#include <vector>

#include "base/types.hpp"
#include "memory/guest_memory.hpp"

namespace nagaya::memory {

class DirtyBitmap {
 public:
  /// Covers the writable regions; others are never dirty.
  explicit DirtyBitmap(std::span<const Region> regions);
  /// Marks the pages that [gpa, gpa+size) touches; what lies outside RAM is ignored. Thread-safe.
  void mark(Gpa gpa, u64 size);
  void mark_all();
  [[nodiscard]] bool test(Gpa gpa) const;
  /// Marked pages in ascending order; they are unmarked. A page marked meanwhile is in this result or in the next.
  [[nodiscard]] std::vector<Gpa> take();

 private:
  struct Run {
    u64 first_page, pages;
    std::vector<std::atomic<u64>> bits;
  };
  std::vector<Run> runs_;
};

}  // namespace nagaya::memory
