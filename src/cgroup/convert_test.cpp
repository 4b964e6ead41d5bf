#include "cgroup/convert.hpp"

#include <gtest/gtest.h>

namespace nagaya::cgroup {
namespace {

TEST(Convert, SharesKeepEndsAndDefault) {
  EXPECT_EQ(cpu_shares_to_weight(0), 0u);
  EXPECT_EQ(cpu_shares_to_weight(1), 1u);
  EXPECT_EQ(cpu_shares_to_weight(2), 1u);
  EXPECT_EQ(cpu_shares_to_weight(1024), 100u);
  EXPECT_EQ(cpu_shares_to_weight(262144), 10000u);
  EXPECT_EQ(cpu_shares_to_weight(~u64{0}), 10000u);
}

TEST(Convert, SharesRiseAndStayInRange) {
  u64 last = 0;
  for (u64 shares = 2; shares <= 262144; shares += shares / 16 + 1) {
    const u64 weight = cpu_shares_to_weight(shares);
    EXPECT_GE(weight, last) << shares;
    EXPECT_GE(weight, 1u);
    EXPECT_LE(weight, 10000u);
    last = weight;
  }
}

TEST(Convert, EveryWeightComesBack) {
  for (u64 weight = 1; weight <= 10000; ++weight) {
    const u64 shares = cpu_weight_to_shares(weight);
    const u64 again = cpu_shares_to_weight(shares);
    // Below 1024 there are fewer shares than would be needed for exactness at the low end.
    EXPECT_LE(again > weight ? again - weight : weight - again, 1u) << weight << " by " << shares;
  }
}

TEST(Convert, IoWeight) {
  EXPECT_EQ(io_weight(0), 0u);
  EXPECT_EQ(io_weight(10), 1u);
  EXPECT_EQ(io_weight(1000), 10000u);
  EXPECT_EQ(io_weight(5), 1u);
  EXPECT_EQ(io_weight(100), 910u);
}

TEST(Convert, SwapAlone) {
  EXPECT_EQ(swap_max(100, 300).value(), "200");
  EXPECT_EQ(swap_max(100, 100).value(), "0");
  EXPECT_EQ(swap_max(100, -1).value(), "max");
  EXPECT_EQ(swap_max(-1, -1).value(), "max");
  EXPECT_FALSE(swap_max(300, 100));
  EXPECT_FALSE(swap_max(0, 100));
  EXPECT_FALSE(swap_max(-1, 100));
  EXPECT_FALSE(swap_max(100, -2));
}

}  // namespace
}  // namespace nagaya::cgroup
