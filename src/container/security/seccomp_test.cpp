#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "container/security/security.hpp"
#include "host/in_child.hpp"

namespace nagaya::container {
namespace {

using host::in_child;

std::string load(const Seccomp& profile) {
  const auto program = SeccompProgram::compile(profile);
  if (!program) return program.error().message();
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  const auto done = program->load();
  return done ? "" : done.error().message();
}

std::string with(const Seccomp& profile, const std::function<std::string()>& look) {
  return in_child([&]() -> std::string {
    const std::string problem = load(profile);
    return problem.empty() ? look() : problem;
  });
}

int code_of(long number, long a = 0, long b = 0) { return ::syscall(number, a, b, 0, 0, 0, 0) < 0 ? errno : 0; }

Seccomp deny(std::vector<std::string> names, std::optional<u32> code = {}) {
  Seccomp out;
  out.default_action = "SCMP_ACT_ALLOW";
  out.architectures = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"};
  out.syscalls.push_back({std::move(names), "SCMP_ACT_ERRNO", code, {}});
  return out;
}

/// Only what a child needs to tell its result.
Seccomp allow_few() {
  Seccomp out;
  out.default_action = "SCMP_ACT_ERRNO";
  out.architectures = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"};
  out.syscalls.push_back({{"write", "exit_group", "mmap", "munmap", "brk", "futex", "no_such_call_at_all"}, "SCMP_ACT_ALLOW", {}, {}});
  return out;
}

TEST(Seccomp, RefusesWithTheErrorAsked) {
  EXPECT_EQ(with(deny({"getppid", "chdir", "no_such_call_at_all"}), []() -> std::string { return code_of(SYS_getppid) == EPERM ? "" : "another error"; }), "");
  EXPECT_EQ(with(deny({"getppid"}, ENOTTY), []() -> std::string { return code_of(SYS_getppid) == ENOTTY ? "" : "another error"; }), "");
}

TEST(Seccomp, LooksAtArguments) {
  Seccomp profile = deny({"personality"});
  const auto seen = [&](const char* op, u64 value, u64 second, long asked) {
    profile.syscalls[0].args = {{0, value, second, op}};
    return with(profile, [asked]() -> std::string { return code_of(SYS_personality, asked) == EPERM ? "refused" : "allowed"; });
  };
  EXPECT_EQ(seen("SCMP_CMP_EQ", 8, 0, 8), "refused");
  EXPECT_EQ(seen("SCMP_CMP_EQ", 8, 0, 0), "allowed");
  EXPECT_EQ(seen("SCMP_CMP_NE", 8, 0, 0), "refused");
  EXPECT_EQ(seen("SCMP_CMP_LT", 8, 0, 7), "refused");
  EXPECT_EQ(seen("SCMP_CMP_LE", 8, 0, 9), "allowed");
  EXPECT_EQ(seen("SCMP_CMP_GE", 8, 0, 8), "refused");
  EXPECT_EQ(seen("SCMP_CMP_GT", 8, 0, 8), "allowed");
  EXPECT_EQ(seen("SCMP_CMP_MASKED_EQ", 0xf, 8, 0x18), "refused");
  EXPECT_EQ(seen("SCMP_CMP_MASKED_EQ", 0xf, 8, 0x9), "allowed");
  // Two conditions on one argument are alternatives.
  profile.syscalls[0].args = {{0, 8, 0, "SCMP_CMP_EQ"}, {0, 0, 0, "SCMP_CMP_EQ"}};
  EXPECT_EQ(with(profile, []() -> std::string { return code_of(SYS_personality, 8) == EPERM && code_of(SYS_personality, 0) == EPERM ? "" : "not both"; }), "");
}

TEST(Seccomp, CallsNewerThanTheLibraryAreNotThereInsteadOfForbidden) {
  EXPECT_EQ(with(allow_few(), []() -> std::string {
    if (code_of(SYS_getppid) != EPERM) return "an old call is not refused";
    if (code_of(1000) != ENOSYS) return "a new call is not ENOSYS";
    return code_of(0x4000'0000 + 1000) == ENOSYS ? "" : "a new call of x32 is not ENOSYS";
  }),
            "");
  // Those named are what the profile says.
  Seccomp profile = deny({"map_shadow_stack"}, ENOTTY);
  EXPECT_EQ(with(profile, []() -> std::string { return code_of(453) == ENOTTY ? "" : "another error"; }), "");
  profile = allow_few();
  profile.syscalls[0].names.emplace_back("cachestat");
  EXPECT_EQ(with(profile, []() -> std::string { return code_of(451, -1) != EPERM ? "" : "refused"; }), "");
}

TEST(Seccomp, OtherArchitecturesAreClosedUnlessNamed) {
  Seccomp profile = deny({"getppid"});
  profile.architectures = {"SCMP_ARCH_X86_64"};
  EXPECT_EQ(with(profile, []() -> std::string { return code_of(0x4000'0000 + SYS_getpid) == 0 ? "x32 is open" : "x32 is answered"; }), "ended by signal 31");
}

TEST(Seccomp, KillsAndTraps) {
  Seccomp profile = deny({"getppid"});
  const auto end = [&](const char* action) {
    profile.syscalls[0].action = action;
    return with(profile, []() -> std::string { return std::to_string(code_of(SYS_getppid)); });
  };
  EXPECT_EQ(end("SCMP_ACT_KILL"), "ended by signal 31");
  EXPECT_EQ(end("SCMP_ACT_KILL_PROCESS"), "ended by signal 31");
  EXPECT_EQ(end("SCMP_ACT_TRAP"), "ended by signal 31");
  EXPECT_EQ(end("SCMP_ACT_TRACE"), std::to_string(ENOSYS));  // nobody traces
  EXPECT_EQ(end("SCMP_ACT_LOG"), "0");
}

TEST(Seccomp, ListenerForNotifications) {
  Seccomp profile = deny({"getppid"});
  profile.syscalls[0].action = "SCMP_ACT_NOTIFY";
  profile.flags = {"SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG"};
  EXPECT_EQ(in_child([&]() -> std::string {
    const auto program = SeccompProgram::compile(profile);
    if (!program) return program.error().message();
    if (!program->wants_listener()) return "no listener is wanted";
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    const auto listener = program->load();
    if (!listener) return listener.error().message();
    return *listener && (::fcntl(listener->get(), F_GETFD) & FD_CLOEXEC) != 0 ? "" : "no listener";
  }),
            "");
  profile.default_action = "SCMP_ACT_NOTIFY";
  EXPECT_FALSE(SeccompProgram::compile(profile));
}

TEST(Seccomp, NonsenseIsRefusedByName) {
  const auto problem = [](auto change) {
    Seccomp profile = deny({"getppid"});
    change(profile);
    const auto program = SeccompProgram::compile(profile);
    return program ? std::string() : program.error().message();
  };
  EXPECT_NE(problem([](Seccomp& p) { p.default_action = "ALLOW"; }).find("'ALLOW'"), std::string::npos);
  EXPECT_NE(problem([](Seccomp& p) { p.syscalls[0].action = "X"; }).find("'X'"), std::string::npos);
  EXPECT_NE(problem([](Seccomp& p) { p.architectures.emplace_back("SCMP_ARCH_VAX"); }).find("VAX"), std::string::npos);
  EXPECT_NE(problem([](Seccomp& p) { p.flags.emplace_back("SECCOMP_FILTER_FLAG_X"); }).find("FLAG_X"), std::string::npos);
  EXPECT_NE(problem([](Seccomp& p) { p.syscalls[0].args = {{6, 0, 0, "SCMP_CMP_EQ"}}; }).find("argument 6"), std::string::npos);
  EXPECT_NE(problem([](Seccomp& p) { p.syscalls[0].args = {{0, 0, 0, "=="}}; }).find("'=='"), std::string::npos);
  EXPECT_NE(problem([](Seccomp& p) { p.syscalls[0].errno_ret = 70000; }).find("errnoRet"), std::string::npos);
}

TEST(Seccomp, FeaturesNameWhatThereIs) {
  const SeccompFeatures features = seccomp_features();
  const auto has = [](const std::vector<std::string>& list, const char* name) { return std::ranges::find(list, name) != list.end(); };
  EXPECT_TRUE(has(features.actions, "SCMP_ACT_NOTIFY") && has(features.operators, "SCMP_CMP_MASKED_EQ") && has(features.architectures, "SCMP_ARCH_X86_64"));
  EXPECT_TRUE(has(features.known_flags, "SECCOMP_FILTER_FLAG_LOG") && has(features.supported_flags, "SECCOMP_FILTER_FLAG_TSYNC"));
}

}  // namespace
}  // namespace nagaya::container
