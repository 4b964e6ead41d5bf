// What one container can take of its server: time and memory.
#include <gtest/gtest.h>

#include "procview/server/budget.hpp"
#include "procview/server/open_files.hpp"

namespace nagaya::procview {
namespace {

constexpr u64 second = 1'000'000'000;

TEST(Budget, IsAPartOfAProcessorAfterABurst) {
  Budget budget;
  EXPECT_EQ(budget.wait(second, Budget::burst), 0u) << "what was saved";
  EXPECT_EQ(budget.wait(second, Budget::burst + 10), 10 * Budget::part);
  EXPECT_EQ(budget.wait(2 * second, Budget::burst + 10), 0u) << "it waited";
  u64 time = 2 * second, used = Budget::burst + 10;
  const u64 from = time, spent = used;
  for (int i = 0; i < 1000; ++i) {  // a reader in a loop: a millisecond each
    used += second / 1000;
    time += second / 1000;
    time += budget.wait(time, used);
  }
  EXPECT_GE(time - from, (used - spent - Budget::burst) * Budget::part);
}

TEST(Budget, DoesNotGrowWithoutEnd) {
  Budget budget;
  EXPECT_EQ(budget.wait(1000 * second, 0), 0u);
  EXPECT_EQ(budget.wait(1000 * second, Budget::burst + second), second * Budget::part);
}

TEST(OpenFiles, AreBoundedInNumberAndSize) {
  OpenFiles files;
  u64 handle = 0;
  while (files.room(0)) files.keep(++handle, "", true);
  EXPECT_EQ(handle, OpenFiles::most);
  files.close(7);
  EXPECT_TRUE(files.room(OpenFiles::most_bytes));
  EXPECT_FALSE(files.room(OpenFiles::most_bytes + 1));
  files.keep(7, std::string(1000, 'x'), true);
  files.keep(7, std::string(10, 'x'), false);
  EXPECT_EQ(files.bytes(), 10u);
  EXPECT_EQ(files.find(7)->text.size(), 10u);
  files.close(7);
  files.close(7);
  EXPECT_EQ(files.bytes(), 0u);
  EXPECT_EQ(files.find(7), nullptr);
}

}  // namespace
}  // namespace nagaya::procview
