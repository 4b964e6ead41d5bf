#include "cgroup/systemd.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cgroup/making.hpp"

namespace nagaya::cgroup {
namespace {

using testing::HasSubstr;

/// Whether `words` has `part` as a run of neighbours.
bool has_run(const std::vector<std::string>& words, const std::vector<std::string>& part) {
  return std::search(words.begin(), words.end(), part.begin(), part.end()) != words.end();
}

TEST(Scope, NamesAndFolders) {
  EXPECT_EQ(parse_scope("machine.slice:libpod:abc", false)->folder, "/machine.slice/libpod-abc.scope");
  EXPECT_EQ(parse_scope("user-1000-app.slice::abc", true)->folder,
            "/user.slice/user-1000.slice/user-1000-app.slice/abc.scope");
  EXPECT_EQ(parse_scope(":x:abc", false)->folder, "/system.slice/x-abc.scope");
  EXPECT_EQ(parse_scope(":x:abc", true)->slice, "user.slice");
  EXPECT_EQ(parse_scope("-.slice:x:abc", false)->folder, "/x-abc.scope");
  EXPECT_EQ(parse_scope("a.slice::b.slice", false)->unit, "b.slice");
  for (const char* bad : {"", "/a/b", "a.slice:b", "a.slice:b:", "a:b:c", "a--b.slice:b:c", "-a.slice:b:c",
                          "a.slice:b:../c", "a.slice:b:c d", ".slice:b:c", "a.slice:--user:c"}) {
    EXPECT_FALSE(parse_scope(bad, false)) << bad;
  }
}

TEST(Scope, PropertiesOnV2) {
  Resources r;
  r.cpu.emplace();
  r.cpu->shares = 1024;
  r.cpu->quota = 15000;
  r.cpu->period = 100000;
  r.cpu->cpus = "0-2,9";
  r.memory.emplace();
  r.memory->limit = 1 << 20;
  r.memory->swap = 3 << 20;
  r.pids_limit = -1;
  const auto words = scope_properties(parse_scope("machine.slice:n:a", false).value(), r, 77, true).value();
  EXPECT_TRUE(has_run(words, {"Slice", "s", "machine.slice"}));
  EXPECT_TRUE(has_run(words, {"PIDs", "au", "1", "77"}));
  EXPECT_TRUE(has_run(words, {"Delegate", "b", "true"}));
  EXPECT_TRUE(has_run(words, {"CPUWeight", "t", "100"}));
  EXPECT_TRUE(has_run(words, {"CPUQuotaPerSecUSec", "t", "150000"}));
  EXPECT_TRUE(has_run(words, {"AllowedCPUs", "ay", "2", "7", "2"}));
  EXPECT_TRUE(has_run(words, {"MemoryMax", "t", "1048576"}));
  EXPECT_TRUE(has_run(words, {"MemorySwapMax", "t", "2097152"}));
  EXPECT_TRUE(has_run(words, {"TasksMax", "t", "18446744073709551615"}));
  r.cpu->cpus = "1-x";
  EXPECT_FALSE(scope_properties(parse_scope("machine.slice:n:a", false).value(), r, 77, true));
}

TEST(Scope, PropertiesOnV1) {
  Resources r;
  r.cpu.emplace();
  r.cpu->shares = 300;
  r.memory.emplace();
  r.memory->limit = -1;
  r.devices = {{.allow = false, .type = 'a', .access = "rwm"},
               {.allow = true, .type = 'c', .major = 10, .minor = 229, .access = "rw"}};
  const auto words = scope_properties(parse_scope("machine.slice:n:a", false).value(), r, 77, false).value();
  EXPECT_TRUE(has_run(words, {"CPUShares", "t", "300"}));
  EXPECT_TRUE(has_run(words, {"MemoryLimit", "t", "18446744073709551615"}));
  EXPECT_TRUE(has_run(words, {"DevicePolicy", "s", "strict"}));
  EXPECT_TRUE(has_run(words, {"/dev/char/10:229", "rwm"}));
  EXPECT_TRUE(has_run(words, {"char-*", "m"}));
}

TEST(Scope, AHostWithoutSystemdSaysSo) {
  if (systemd_runs()) GTEST_SKIP() << "systemd runs here";
  const auto group = Group::create(Layout{}, {.path = "machine.slice:n:a", .manager = Manager::systemd}, {}, 1);
  ASSERT_FALSE(group);
  EXPECT_THAT(group.error().message(), HasSubstr("systemd does not run"));
  EXPECT_THAT(group.error().message(), HasSubstr("--cgroup-manager"));
}

}  // namespace
}  // namespace nagaya::cgroup
