#include "bus/resources.hpp"

#include <gtest/gtest.h>

namespace nagaya::bus {
namespace {

TEST(RangeAllocator, LowestFitAlignedWithoutOverlap) {
  RangeAllocator pool("test", 0x1010, 0x4fff);
  EXPECT_EQ(*pool.allocate(0x10, 0x10), 0x1010u);
  EXPECT_EQ(*pool.allocate(0x1000, 0x1000), 0x2000u);
  EXPECT_EQ(*pool.allocate(0x20, 0x20), 0x1020u) << "into the hole";
  EXPECT_EQ(*pool.allocate(0x2000, 0x1000), 0x3000u);
  EXPECT_FALSE(pool.allocate(0x1000, 0x1000));
  pool.release(0x2000);
  EXPECT_EQ(*pool.allocate(0x1000, 0x1000), 0x2000u);
}

TEST(RangeAllocator, Reservations) {
  RangeAllocator pool("test", 0x100, 0x1ff);
  EXPECT_TRUE(pool.reserve(0x120, 0x20));
  EXPECT_FALSE(pool.reserve(0x13f, 1));
  EXPECT_FALSE(pool.reserve(0x110, 0x11));
  EXPECT_FALSE(pool.reserve(0xff, 1));
  EXPECT_FALSE(pool.reserve(0x1ff, 2));
  EXPECT_FALSE(pool.reserve(0x140, 0));
  EXPECT_TRUE(pool.reserve(0x140, 1));
  EXPECT_EQ(*pool.allocate(0x20, 0x20), 0x100u);
  EXPECT_EQ(*pool.allocate(0x20, 0x20), 0x160u);
}

TEST(RangeAllocator, EndsOfTheNumberSpace) {
  RangeAllocator all("all", 0, ~u64{0});
  EXPECT_EQ(*all.allocate(u64{1} << 63, u64{1} << 63), 0u);
  EXPECT_EQ(*all.allocate(u64{1} << 63, u64{1} << 63), u64{1} << 63);
  EXPECT_FALSE(all.allocate(1, 1));
  RangeAllocator top("top", ~u64{0} - 0xff, ~u64{0});
  EXPECT_FALSE(top.allocate(0x1000, 0x1000)) << "alignment wraps";
  EXPECT_FALSE(top.allocate(0, 1));
  EXPECT_FALSE(top.allocate(1, 3));
}

TEST(GsiAllocator, HandsOutEachOnce) {
  GsiAllocator gsis(0b10110);
  EXPECT_TRUE(gsis.reserve(2));
  EXPECT_FALSE(gsis.reserve(2));
  EXPECT_FALSE(gsis.reserve(64));
  EXPECT_EQ(*gsis.allocate(), 1u);
  EXPECT_EQ(*gsis.allocate(), 4u);
  EXPECT_FALSE(gsis.allocate());
  gsis.release(4);
  EXPECT_EQ(*gsis.allocate(), 4u);
}

}  // namespace
}  // namespace nagaya::bus
