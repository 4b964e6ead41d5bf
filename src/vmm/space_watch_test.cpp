#include "vmm/space_watch.hpp"

#include <gtest/gtest.h>

namespace nagaya::vmm {
namespace {

constexpr u64 second = 1'000'000'000;

TEST(SpaceWatch, GoesOnOnceThereIsSpace) {
  SpaceWatch watch;
  EXPECT_TRUE(watch.ran_full(10 * second, 4096));
  EXPECT_FALSE(watch.try_again(11 * second, 4096));
  EXPECT_FALSE(watch.try_again(100 * second, SpaceWatch::least_space - 1));
  EXPECT_TRUE(watch.try_again(101 * second, 4096 + SpaceWatch::least_space));
  // Full again: that is news.
  EXPECT_TRUE(watch.ran_full(102 * second, 0));
}

TEST(SpaceWatch, SpaceThatCannotBeUsedIsTriedEverMoreRarelyAndInSilence) {
  SpaceWatch watch;
  const u64 free = 1000 * MiB;
  u64 now = 0;
  EXPECT_TRUE(watch.ran_full(now, free));
  u64 before = 0;
  for (int i = 0; i < 8; ++i) {
    const u64 since = now;
    while (!watch.try_again(now, free)) now += second / 2;
    EXPECT_GE(now - since, before);
    before = now - since;
    EXPECT_LE(before, SpaceWatch::longest_wait_ns);
    EXPECT_FALSE(watch.ran_full(now, free));
  }
  EXPECT_EQ(before, SpaceWatch::longest_wait_ns);
}

TEST(SpaceWatch, UnknownSpaceIsTriedByTime) {
  SpaceWatch watch;
  EXPECT_TRUE(watch.ran_full(0, ~u64{0}));
  EXPECT_FALSE(watch.try_again(second, ~u64{0}));
  EXPECT_TRUE(watch.try_again(2 * second, ~u64{0}));
}

}  // namespace
}  // namespace nagaya::vmm
