#include "boot/e820.hpp"

#include <gtest/gtest.h>

#include "boot/boot_test_util.hpp"

namespace nagaya::boot {
namespace {

TEST(MemoryMap, LaterKindWinsAndNeighboursMerge) {
  MemoryMap map;
  map.set(0x1000, 0x4000, MemoryKind::ram);
  map.set(0x2000, 0x1000, MemoryKind::reserved);
  map.set(0x5000, 0x1000, MemoryKind::ram);
  const MemoryRange expected[] = {{0x1000, 0x1000, MemoryKind::ram},
                                  {0x2000, 0x1000, MemoryKind::reserved},
                                  {0x3000, 0x3000, MemoryKind::ram}};
  EXPECT_TRUE(std::ranges::equal(map.ranges(), expected));
  EXPECT_EQ(map.total(MemoryKind::ram), 0x4000u);
}

TEST(MemoryMap, EmptyAndWrappingRangesAreCut) {
  MemoryMap map;
  map.set(0x1000, 0, MemoryKind::ram);
  EXPECT_TRUE(map.ranges().empty());
  map.set(~u64{0} - 0xfff, 0x10000, MemoryKind::ram);
  ASSERT_EQ(map.ranges().size(), 1u);
  EXPECT_EQ(map.ranges()[0].size, 0xfffu);
}

TEST(MemoryMap, OfAPcSplitsRamAroundTheHole) {
  const auto memory = test::ram(6 * GiB);
  const MemoryMap map = build_memory_map(*memory);
  namespace pc = x86::pc;
  const auto kind_at = [&](u64 address) {
    for (const MemoryRange& r : map.ranges()) {
      if (address >= r.base && address < r.base + r.size) return static_cast<u32>(r.kind);
    }
    return 0u;
  };
  EXPECT_EQ(kind_at(0), 1u);
  EXPECT_EQ(kind_at(pc::ebda_base - 1), 1u);
  EXPECT_EQ(kind_at(pc::ebda_base), 2u);
  EXPECT_EQ(kind_at(pc::vga_hole), 0u);
  EXPECT_EQ(kind_at(0xf0000), 2u);
  EXPECT_EQ(kind_at(MiB), 1u);
  EXPECT_EQ(kind_at(pc::ram_low_limit - 1), 1u);
  EXPECT_EQ(kind_at(pc::ecam_base), 2u);
  EXPECT_EQ(kind_at(pc::pci_mmio32_base), 0u);
  EXPECT_EQ(kind_at(pc::lapic_base), 2u);
  EXPECT_EQ(kind_at(4 * GiB), 1u);
  EXPECT_EQ(kind_at(4 * GiB + 6 * GiB - pc::ram_low_limit - 1), 1u);
  EXPECT_EQ(kind_at(4 * GiB + 6 * GiB - pc::ram_low_limit), 0u);
  u64 end = 0;
  for (const MemoryRange& r : map.ranges()) {
    EXPECT_GE(r.base, end);
    end = r.base + r.size;
  }
}

}  // namespace
}  // namespace nagaya::boot
