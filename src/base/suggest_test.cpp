#include "base/suggest.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace nagaya {
namespace {

TEST(Suggest, Distance) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("run", ""), 3u);
  EXPECT_EQ(edit_distance("run", "run"), 0u);
  EXPECT_EQ(edit_distance("urn", "run"), 1u);
  EXPECT_EQ(edit_distance("doctr", "doctor"), 1u);
  EXPECT_EQ(edit_distance("kernal", "kernel"), 1u);
}

TEST(Suggest, FindsTheNearMissAndNothingElse) {
  const std::vector<std::string> commands{"run", "doctor", "version", "completion", "help"};
  EXPECT_EQ(suggestion("rnu", commands), "run");
  EXPECT_EQ(suggestion("docter", commands), "doctor");
  EXPECT_EQ(suggestion("verison", commands), "version");
  EXPECT_EQ(suggestion("comp", commands), "completion");
  EXPECT_EQ(suggestion("frobnicate", commands), "");
  EXPECT_EQ(suggestion("x", commands), "");
  EXPECT_EQ(suggestion(std::string(100000, 'x'), commands), "");
}

}  // namespace
}  // namespace nagaya
