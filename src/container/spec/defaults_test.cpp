#include "container/spec/defaults.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace nagaya::container {
namespace {

bool permits(const Seccomp& seccomp, const std::string& name) {
  return std::ranges::any_of(seccomp.syscalls, [&](const SeccompRule& rule) {
    return rule.action == "SCMP_ACT_ALLOW" && rule.args.empty() && std::ranges::find(rule.names, name) != rule.names.end();
  });
}

TEST(DefaultSeccomp, OpensWhatACapabilityNeedsAndNothingElse) {
  const Seccomp plain = default_seccomp(default_capabilities());
  for (const char* name : {"openat", "execve", "futex", "sendmsg", "chroot"}) EXPECT_TRUE(permits(plain, name)) << name;
  for (const char* name : {"mount", "setns", "unshare", "bpf", "ptrace", "init_module", "io_uring_setup", "userfaultfd", "keyctl", "kexec_load", "clone", "clone3"})
    EXPECT_FALSE(permits(plain, name)) << name;
  const Seccomp admin = default_seccomp({"CAP_SYS_ADMIN"});
  EXPECT_TRUE(permits(admin, "mount"));
  EXPECT_TRUE(permits(admin, "clone3"));
  EXPECT_FALSE(permits(admin, "init_module"));
}

TEST(DefaultSeccomp, NamesNothingTwice) {
  std::set<std::string> seen;
  for (const SeccompRule& rule : default_seccomp({}).syscalls) {
    if (!rule.args.empty()) continue;
    for (const std::string& name : rule.names) EXPECT_TRUE(seen.insert(name).second) << name;
  }
}

TEST(DefaultDevices, RefuseAllFirst) {
  const auto rules = default_device_rules();
  EXPECT_FALSE(rules.front().allow);
  EXPECT_EQ(rules.front().access, "rwm");
}

}  // namespace
}  // namespace nagaya::container
