// The options that show what the software engine does: the jailed machine still writes what it opened before, and the guest does not
// notice.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <sstream>

#include "runner.hpp"

namespace nagaya::system_test {
namespace {

using ::testing::HasSubstr;

std::string slurp(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

TEST(LookInside, LogAndMap) {
  const std::string log = scratch("engine.log");
  const Outcome plain = run(small_run("counter", "soft"));
  EXPECT_THAT(plain.output, HasSubstr("sum "));

  Command command(small_run("counter", "soft", "", {"--engine-log", log, "--count-blocks", "--perf-map", "--code-cache", "1M"}));
  ASSERT_TRUE(command.wait_for("counting"));
  const std::string map = "/tmp/perf-" + std::to_string(command.vmm_pid()) + ".map";
  ASSERT_TRUE(command.wait_end());
  EXPECT_EQ(command.exit_code(), plain.code) << command.errors();
  EXPECT_EQ(command.output(), plain.output);

  const std::string text = slurp(log);
  EXPECT_THAT(text, HasSubstr("blocks translated: "));
  EXPECT_THAT(text, HasSubstr("vcpu 0: "));
  EXPECT_THAT(text, HasSubstr("dispatches: "));
  EXPECT_THAT(text, HasSubstr("outside translated code: out "));
  // The guest's innermost loop multiplies.
  const auto first = text.find("guest:32k:");
  ASSERT_NE(first, std::string::npos);
  EXPECT_THAT(text.substr(first, 6000), HasSubstr("imul"));
  EXPECT_THAT(slurp(map), HasSubstr(" guest:32k:"));
  std::remove(map.c_str());
}

TEST(LookInside, WhatCannotBeOpened) {
  const Outcome outcome = run(small_run("counter", "soft", "", {"--engine-log", "/proc/nowhere/engine.log"}));
  EXPECT_EQ(outcome.code, 125);
  EXPECT_THAT(outcome.errors, HasSubstr("/proc/nowhere/engine.log"));
}

}  // namespace
}  // namespace nagaya::system_test
