// A guest that writes nonsense to every port and to much of the address space outside its RAM: a clear outcome, never a
// crash or a hang of ours.
#include <gtest/gtest.h>

#include <set>

#include "runner.hpp"

namespace nagaya::system_test {
namespace {

class Nonsense : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Seeds, Nonsense, ::testing::Range(1, 9));

TEST_P(Nonsense, PoliteGetsThrough) {
  Outcome outcome = run(small_run("nonsense", "soft", "seed=" + std::to_string(GetParam() * 7919), {"--testdev"}), 120);
  EXPECT_EQ(outcome.code, 42 << 1 | 1) << outcome.errors;
}

TEST_P(Nonsense, RudeEndsInAClearOutcome) {
  std::string seed = "rude=1 rounds=4 seed=" + std::to_string(GetParam() * 104729);
  Outcome outcome = run(small_run("nonsense", "soft", seed, {"--serial", "null"}), 120);
  // Power-off, reset, triple fault, a refusal of the engine, or a debug exit (odd).
  static const std::set<int> clear{0, 96, 98, 100};
  EXPECT_TRUE(clear.contains(outcome.code) || (outcome.code > 0 && outcome.code < 256 && outcome.code % 2 == 1))
      << outcome.code << ": " << outcome.errors;
  EXPECT_FALSE(outcome.errors.empty());
}

TEST(NonsenseKvm, PoliteGetsThrough) {
  for (const std::string& engine : engines()) {
    if (engine != "kvm") continue;
    Outcome outcome = run(small_run("nonsense", "kvm", "seed=77"), 240);
    EXPECT_TRUE(outcome.code == (42 << 1 | 1) || outcome.code == 100) << outcome.code << ": " << outcome.errors;
  }
}

}  // namespace
}  // namespace nagaya::system_test
