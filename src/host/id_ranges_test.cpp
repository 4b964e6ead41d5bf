#include "host/id_ranges.hpp"

#include <gtest/gtest.h>

namespace nagaya::host {
namespace {

TEST(IdRanges, FindsAUserByNameOrNumber) {
  const char* text = "bob:1:2\nalice:100000:65536\n1000:5:6\nbad:x:y\nalice:9:9\n";
  EXPECT_EQ(range_in(text, "alice", 7), (IdRange{0, 100000, 65536}));
  EXPECT_EQ(range_in(text, "carol", 1000), (IdRange{0, 5, 6}));
  EXPECT_EQ(range_in(text, "bad", 9), IdRange{});
  EXPECT_EQ(range_in("", "alice", 7), IdRange{});
}

}  // namespace
}  // namespace nagaya::host
