#include "boot/placement.hpp"

#include <gtest/gtest.h>

namespace nagaya::boot {
namespace {

Placement sixteen_mebibytes() {
  MemoryMap map;
  map.set(0, 0x9'f000, MemoryKind::ram);
  map.set(MiB, 15 * MiB, MemoryKind::ram);
  return Placement(map);
}

TEST(Placement, RefusesOverlapAndWhatIsNoRam) {
  Placement p = sixteen_mebibytes();
  EXPECT_TRUE(p.claim("kernel", 2 * MiB, MiB));
  const auto overlap = p.claim("initrd", 3 * MiB - 1, 10);
  ASSERT_FALSE(overlap);
  EXPECT_NE(overlap.error().message().find("overlaps kernel"), std::string::npos);
  EXPECT_FALSE(p.claim("hole", 0xa'0000, 16));
  EXPECT_FALSE(p.claim("end", 16 * MiB - 1, 2));
  EXPECT_FALSE(p.claim("bios data", 0x400, 1));
  EXPECT_FALSE(p.claim("wrap", ~u64{0}, 2));
  EXPECT_TRUE(p.claim("next to it", 3 * MiB, 10));
  EXPECT_TRUE(p.claim("nothing", 5 * GiB, 0));
}

TEST(Placement, FindsTheLowestAndTheHighestPlace) {
  Placement p = sixteen_mebibytes();
  EXPECT_EQ(p.lowest("a", 100, 16, 0, 4 * GiB), 4096u);
  EXPECT_EQ(p.lowest("b", 100, 4096, 0, 4 * GiB), 8192u);
  EXPECT_EQ(p.highest("c", 5000, 4096, MiB, 4 * GiB), 16 * MiB - 8192);
  EXPECT_EQ(p.highest("d", 4096, 4096, MiB, 8 * MiB), 8 * MiB - 4096);
  EXPECT_EQ(p.highest("e", 4096, 4096, MiB, 8 * MiB), 8 * MiB - 8192);
  EXPECT_FALSE(p.lowest("f", 16 * MiB, 1, 0, 4 * GiB));
  EXPECT_FALSE(p.highest("g", 4096, 4096, 16 * MiB, 4 * GiB));
}

TEST(Placement, BootDataGoesHighWhenLowMemoryIsFull) {
  Placement p = sixteen_mebibytes();
  EXPECT_TRUE(p.claim("a low kernel", 0x1000, 0x9'e000));
  const auto data = p.boot_data("the boot parameters", 4096, 4096);
  ASSERT_TRUE(data);
  EXPECT_EQ(*data, 16 * MiB - 4096);
}

}  // namespace
}  // namespace nagaya::boot
