// The one allocator of a machine's addresses and interrupt lines.
#pragma once
#include <map>
#include <string>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::bus {

/// Hands out ranges of [first, last], lowest first.
class RangeAllocator {
 public:
  RangeAllocator(std::string name, u64 first, u64 last) : name_(std::move(name)), first_(first), last_(last) {}
  /// `align` is a power of two.
  [[nodiscard]] Result<u64> allocate(u64 size, u64 align);
  /// A fixed range; error when it overlaps another or leaves the window.
  Result<> reserve(u64 start, u64 size);
  void release(u64 start) { taken_.erase(start); }
  [[nodiscard]] u64 first() const { return first_; }
  [[nodiscard]] u64 last() const { return last_; }

 private:
  std::string name_;
  u64 first_, last_;
  std::map<u64, u64> taken_;  // start → last byte
};

/// Global system interrupts that one device owns alone.
class GsiAllocator {
 public:
  /// `free`: bit n set for each GSI n that may be handed out.
  explicit GsiAllocator(u64 free) : free_(free) {}
  [[nodiscard]] Result<unsigned> allocate();
  Result<> reserve(unsigned gsi);
  void release(unsigned gsi) { free_ |= u64{1} << (gsi & 63); }

 private:
  u64 free_;
};

struct Resources {
  RangeAllocator ports, mmio32, mmio64;
  GsiAllocator gsis;
};

}  // namespace nagaya::bus
