#include "net/rate.hpp"

#include <gtest/gtest.h>

namespace nagaya::net {
namespace {

constexpr u64 second = 1'000'000'000;

TEST(RateLimit, NoLimit) {
  RateLimit limit(0);
  limit.take(~u64{0}, 5);
  EXPECT_FALSE(limit.limits());
  EXPECT_EQ(limit.wait(5), 0u);
}

TEST(RateLimit, KeepsTheRateOverTime) {
  RateLimit limit(1'000'000);
  u64 now = second, bytes = 0;
  while (now < 11 * second) {
    const u64 wait = limit.wait(now);
    if (wait != 0) {
      now += wait;
      EXPECT_EQ(limit.wait(now), 0u);
    }
    limit.take(1500, now);
    bytes += 1500;
  }
  EXPECT_GE(bytes, 10'000'000u);
  EXPECT_LE(bytes, 10'150'000u);  // and a bucket more
}

TEST(RateLimit, APacketLargerThanTheBucketPassesAndIsPaidFor) {
  RateLimit limit(1000);
  EXPECT_EQ(limit.wait(second), 0u);
  limit.take(65000, second);
  const u64 wait = limit.wait(second);
  EXPECT_GT(wait, 64 * second);
  EXPECT_LT(wait, 66 * second);
}

TEST(RateLimit, AnIdleTimeSavesUpNoMoreThanABucket) {
  RateLimit limit(1'000'000);
  limit.take(1, second);
  u64 bytes = 0;
  while (limit.wait(100 * second) == 0) {
    limit.take(1000, 100 * second);
    bytes += 1000;
  }
  EXPECT_LE(bytes, 101'000u);
}

}  // namespace
}  // namespace nagaya::net
