#include "host/process_stat.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

namespace nagaya::host {
namespace {

TEST(ProcessStat, OfThisProcess) {
  const auto stat = read_process_stat(::getpid());
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->parent, ::getppid());
  EXPECT_EQ(stat->state, 'R');
  EXPECT_GT(stat->start_ticks, 0u);
  EXPECT_GT(stat->resident_pages, 0u);
  EXPECT_FALSE(read_process_stat(0));
}

TEST(ProcessStat, NamesMayHoldAnything) {
  const auto stat = parse_process_stat("7 (a) S (b) Z 5 7 7 0 -1 4194304 1 2 3 4 11 12 13 14 20 0 1 0 4711 1000 99 18446744073709551615 1 1");
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->name, "a) S (b");
  EXPECT_EQ(stat->state, 'Z');
  EXPECT_EQ(stat->parent, 5);
  EXPECT_EQ(stat->user_ticks, 11u);
  EXPECT_EQ(stat->system_ticks, 12u);
  EXPECT_EQ(stat->start_ticks, 4711u);
  EXPECT_EQ(stat->resident_pages, 99u);
  for (const char* bad : {"", "7 (a", "7 (a) S", "7 )a( S 5 7", "7 (a) S 5 7 7 0 -1 4194304"}) EXPECT_FALSE(parse_process_stat(bad)) << bad;
}

}  // namespace
}  // namespace nagaya::host
