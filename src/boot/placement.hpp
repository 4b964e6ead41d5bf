// Who occupies which guest RAM while a kernel is loaded: nothing may be written over something else.
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"
#include "boot/e820.hpp"

namespace nagaya::boot {

class Placement {
 public:
  /// RAM is what `map` calls RAM; the first page (interrupt vectors, BIOS data) counts as taken.
  explicit Placement(const MemoryMap& map);

  /// Takes [base, base+size) for `what` ("kernel segment 2"). Error when it is not RAM or already taken.
  Result<> claim(std::string what, u64 base, u64 size);
  /// Takes the lowest free place in [low, high) that is a multiple of `align`.
  Result<u64> lowest(std::string what, u64 size, u64 align, u64 low, u64 high);
  /// Takes the highest free place in [low, high) that is a multiple of `align`.
  Result<u64> highest(std::string what, u64 size, u64 align, u64 low, u64 high);
  /// Boot data (start information, tables, strings): below 640 KiB if there is room, else anywhere below 4 GiB.
  Result<u64> boot_data(std::string what, u64 size, u64 align);
  /// End (exclusive) of the RAM that lies below 4 GiB.
  [[nodiscard]] u64 low_ram_end() const { return low_ram_end_; }

 private:
  struct Range {
    u64 base, end;
    std::string what;
  };
  [[nodiscard]] std::vector<Range> free_ranges() const;
  [[nodiscard]] Error no_room(const std::string& what, u64 size) const;

  std::vector<Range> ram_, taken_;  // sorted by base
  u64 low_ram_end_ = 0;
};

}  // namespace nagaya::boot
