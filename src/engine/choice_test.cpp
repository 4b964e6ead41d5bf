#include "engine/choice.hpp"

#include <gtest/gtest.h>

namespace nagaya::engine {
namespace {

ProbeResult probe(ProbeVerdict verdict) { return {.verdict = verdict, .why = "because", .mips = 1, .missing = "INT3"}; }

TEST(EngineChoice, AutomaticTakesKvmOnlyWhereFastAndComplete) {
  for (const auto verdict :
       {ProbeVerdict::absent, ProbeVerdict::refused, ProbeVerdict::emulates_kernel, ProbeVerdict::incomplete})
    EXPECT_EQ(choose_engine(EnginePreference::automatic, probe(verdict))->name, "soft");
  EXPECT_EQ(choose_engine(EnginePreference::automatic, probe(ProbeVerdict::fast))->name, "kvm");
}

TEST(EngineChoice, AutomaticTellsWhy) {
  const auto choice = choose_engine(EnginePreference::automatic, probe(ProbeVerdict::emulates_kernel));
  EXPECT_NE(choice->reason.find("INT3"), std::string::npos);
  EXPECT_EQ(choice->reason.find('\n'), std::string::npos);
}

TEST(EngineChoice, KvmThatCannotRunIsAnError) {
  EXPECT_FALSE(choose_engine(EnginePreference::kvm, probe(ProbeVerdict::absent)));
  EXPECT_FALSE(choose_engine(EnginePreference::kvm, probe(ProbeVerdict::refused)));
}

TEST(EngineChoice, KvmThatIsSlowIsGivenWithAWarning) {
  const auto choice = choose_engine(EnginePreference::kvm, probe(ProbeVerdict::emulates_kernel));
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->name, "kvm");
  EXPECT_NE(choice->reason.find("emulates"), std::string::npos);
}

TEST(EngineChoice, SoftNeedsNothing) {
  EXPECT_EQ(choose_engine(EnginePreference::soft, probe(ProbeVerdict::fast))->name, "soft");
  EXPECT_EQ(choose_engine(EnginePreference::soft, probe(ProbeVerdict::absent))->name, "soft");
}

TEST(EngineChoice, PreferenceNames) {
  EXPECT_EQ(*parse_engine_preference("auto"), EnginePreference::automatic);
  EXPECT_EQ(*parse_engine_preference("kvm"), EnginePreference::kvm);
  EXPECT_EQ(*parse_engine_preference("soft"), EnginePreference::soft);
  for (const char* bad : {"", "KVM", "tcg", "auto "}) EXPECT_FALSE(parse_engine_preference(bad));
}

}  // namespace
}  // namespace nagaya::engine
