// Our programs against libseccomp's: the same verdict on the same calls.
#include "container/security/filter.hpp"

#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <random>
#include <span>

#include "container/security/security.hpp"
#include "host/fd.hpp"

namespace nagaya::container {
namespace {

constexpr u32 x32_bit = 0x4000'0000;

/// What the kernel would do: classic BPF over seccomp_data.
u32 run(std::span<const sock_filter> program, const seccomp_data& data) {
  u32 accumulator = 0;
  for (std::size_t at = 0; at < program.size(); ++at) {
    const sock_filter& one = program[at];
    const auto jump = [&](bool holds) { at += holds ? one.jt : one.jf; };
    switch (one.code) {
      case BPF_LD | BPF_W | BPF_ABS: std::memcpy(&accumulator, reinterpret_cast<const char*>(&data) + one.k, sizeof accumulator); break;
      case BPF_ALU | BPF_AND | BPF_K: accumulator &= one.k; break;
      case BPF_JMP | BPF_JA: at += one.k; break;
      case BPF_JMP | BPF_JEQ | BPF_K: jump(accumulator == one.k); break;
      case BPF_JMP | BPF_JGT | BPF_K: jump(accumulator > one.k); break;
      case BPF_JMP | BPF_JGE | BPF_K: jump(accumulator >= one.k); break;
      case BPF_RET | BPF_K: return one.k;
      default: ADD_FAILURE() << "instruction " << one.code; return 0;
    }
  }
  ADD_FAILURE() << "the program has no end";
  return 0;
}

std::vector<sock_filter> instructions(std::span<const u8> bytes) {
  std::vector<sock_filter> out(bytes.size() / sizeof(sock_filter));
  std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

constexpr std::array<u32, 3> tokens = {SCMP_ARCH_X86_64, SCMP_ARCH_X86, SCMP_ARCH_X32};

/// The profile as libseccomp would have it; its verdict on unknown architectures is made ours.
std::vector<sock_filter> peer(u32 fallback, const std::vector<std::pair<u32, const SeccompRule*>>& rules) {
  scmp_filter_ctx context = seccomp_init(fallback);
  for (const u32 token : {tokens[1], tokens[2]}) EXPECT_EQ(seccomp_arch_add(context, token), 0);
  seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  const auto comparison = [](const std::string& op) {
    const std::array<std::string, 8> names = {"", "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"};
    return static_cast<scmp_compare>(std::ranges::find(names, op) - names.begin());
  };
  for (const auto& [action, rule] : rules) {
    std::vector<scmp_arg_cmp> args;
    for (const auto& arg : rule->args) args.push_back({arg.index, comparison(arg.op), arg.value, arg.value_two});
    for (const auto& name : rule->names) {
      const int number = seccomp_syscall_resolve_name(name.c_str());
      if (number != __NR_SCMP_ERROR) seccomp_rule_add_array(context, action, number, static_cast<unsigned>(args.size()), args.data());
    }
  }
  const host::Fd file(::memfd_create("peer", MFD_CLOEXEC));
  EXPECT_EQ(seccomp_export_bpf(context, file.get()), 0);
  seccomp_release(context);
  ::lseek(file.get(), 0, SEEK_SET);
  const auto bytes = host::read_all(file.get(), 1 << 20, "peer").value();
  return instructions(bytes);
}

seccomp_data call(u32 arch, u32 number, std::array<u64, 6> args) {
  seccomp_data out{};
  out.arch = arch;
  out.nr = static_cast<int>(number);
  std::ranges::copy(args, out.args);
  return out;
}

Seccomp sample() {
  Seccomp out;
  out.default_action = "SCMP_ACT_ERRNO";
  out.architectures = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"};
  out.syscalls = {
      {{"read", "write", "close", "open", "openat", "mmap", "mmap2", "socket", "semget", "accept", "recvmmsg", "stat64", "exit_group"}, "SCMP_ACT_ALLOW", {}, {}},
      {{"personality"}, "SCMP_ACT_ALLOW", {}, {{0, 0, 0, "SCMP_CMP_EQ"}}},
      {{"personality"}, "SCMP_ACT_ALLOW", {}, {{0, 0xffffffff, 0, "SCMP_CMP_EQ"}}},
      {{"clone"}, "SCMP_ACT_ALLOW", {}, {{0, 0x7e020000, 0, "SCMP_CMP_MASKED_EQ"}}},
      {{"ioctl"}, "SCMP_ACT_ALLOW", {}, {{1, 0x5412, 0, "SCMP_CMP_NE"}}},
      {{"kill"}, "SCMP_ACT_TRAP", {}, {{0, 0x1'0000'0005, 0, "SCMP_CMP_LT"}, {1, 9, 0, "SCMP_CMP_GE"}}},
      {{"lseek"}, "SCMP_ACT_LOG", {}, {{1, 0x7'0000'0003, 0, "SCMP_CMP_LE"}}},
      {{"fcntl"}, "SCMP_ACT_ALLOW", {}, {{2, 0x5'0000'0001, 0, "SCMP_CMP_GT"}, {1, 4, 0, "SCMP_CMP_EQ"}, {0, 0, 0, "SCMP_CMP_NE"}}},
      {{"clone3", "getppid"}, "SCMP_ACT_ERRNO", ENOSYS, {}},
      {{"ptrace"}, "SCMP_ACT_KILL_PROCESS", {}, {}},
  };
  return out;
}

/// Calls of every number, with arguments around the values that rules compare with.
void compare(const Seccomp& profile, u32 fallback, const std::vector<std::pair<u32, const SeccompRule*>>& rules, int rounds) {
  const auto ours = SeccompProgram::compile(profile);
  ASSERT_TRUE(ours) << ours.error().message();
  const auto mine = instructions(ours->instructions()), theirs = peer(fallback, rules);
  std::mt19937_64 random(1);
  std::vector<u64> values = {0, 1, ~0ull};
  for (const auto& rule : profile.syscalls) {
    for (const auto& arg : rule.args) {
      for (const u64 near : {arg.value - 1, arg.value, arg.value + 1, arg.value ^ u64{1} << 32, arg.value_two, arg.value | u64{1} << 40}) values.push_back(near);
    }
  }
  constexpr u32 last_known = 440;  // libseccomp 2.5 knows those below for sure
  for (int round = 0; round < rounds; ++round) {
    for (u32 number = 0; number < last_known; ++number) {
      for (const u32 token : tokens) {
        std::array<u64, 6> args{};
        for (u64& arg : args) arg = values[random() % values.size()];
        if (token == SCMP_ARCH_X86) {
          for (u64& arg : args) arg &= 0xffffffff;  // the kernel gives no more to programs of 32 bits
          if (number == 102 || number == 117) args[0] = random() % 26;
        }
        const auto data = call(token == SCMP_ARCH_X86 ? AUDIT_ARCH_I386 : AUDIT_ARCH_X86_64, number | (token == SCMP_ARCH_X32 ? x32_bit : 0), args);
        ASSERT_EQ(run(mine, data), run(theirs, data)) << "architecture " << token << " call " << number << " arguments " << args[0] << " " << args[1] << " " << args[2];
      }
    }
  }
  EXPECT_EQ(run(mine, call(AUDIT_ARCH_AARCH64, 1, {})), u32{SECCOMP_RET_KILL_PROCESS});
}

std::vector<std::pair<u32, const SeccompRule*>> with_actions(const Seccomp& profile) {
  std::vector<std::pair<u32, const SeccompRule*>> out;
  for (const auto& rule : profile.syscalls) {
    const u32 action = rule.action == "SCMP_ACT_ALLOW" ? SCMP_ACT_ALLOW : rule.action == "SCMP_ACT_TRAP" ? SCMP_ACT_TRAP : rule.action == "SCMP_ACT_LOG" ? SCMP_ACT_LOG :
                       rule.action == "SCMP_ACT_KILL_PROCESS" ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO(rule.errno_ret.value_or(EPERM));
    out.emplace_back(action, &rule);
  }
  return out;
}

TEST(Filter, GivesTheVerdictsOfLibseccomp) {
  const Seccomp profile = sample();
  compare(profile, SCMP_ACT_ERRNO(EPERM), with_actions(profile), 200);
}

TEST(Filter, AnyProfileOfPlainRules) {
  std::mt19937 random(2);
  constexpr std::array actions = {"SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRAP", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_ERRNO"};
  for (int round = 0; round < 20; ++round) {
    Seccomp profile = sample();
    profile.syscalls.clear();
    for (int number = 0; number < 440; ++number) {
      char* name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, number);
      if (name != nullptr && random() % 3 != 0) profile.syscalls.push_back({{name}, actions[random() % (round % 5 + 1)], ENOTTY, {}});
      std::free(name);
    }
    compare(profile, SCMP_ACT_ERRNO(EPERM), with_actions(profile), 2);
  }
}

TEST(Filter, LongProfilesStayWithinTheKernelsBound) {
  CallTable table;
  table.fallback = 1;
  for (u32 number = 0; number < 1000; ++number) table.add(number, {{{0, Comparison::gt, number, 0}}, 2});
  const Program program = decide(table);
  Program whole = load(offsetof(seccomp_data, nr));
  whole.insert(whole.end(), program.begin(), program.end());
  for (const u32 number : {0u, 1u, 499u, 500u, 998u, 999u}) {
    EXPECT_EQ(run(whole, call(0, number, {number + 1})), 2u) << number;
    EXPECT_EQ(run(whole, call(0, number, {number})), 1u) << number;
  }
  EXPECT_EQ(run(whole, call(0, 1000, {~0ull})), 1u);
}

TEST(Filter, TheUnknownHasItsOwnVerdict) {
  CallTable table{.fallback = 1, .unknown_from = 10, .unknown_verdict = 3};
  for (const u32 number : {5u, 9u, 12u}) table.add(number, {{}, 2});
  Program whole = load(offsetof(seccomp_data, nr));
  const Program program = decide(table);
  whole.insert(whole.end(), program.begin(), program.end());
  const std::array<u32, 14> expected = {1, 1, 1, 1, 1, 2, 1, 1, 1, 2, 3, 3, 2, 3};
  for (u32 number = 0; number < expected.size(); ++number) EXPECT_EQ(run(whole, call(0, number, {})), expected[number]) << number;
  EXPECT_EQ(run(whole, call(0, ~0u, {})), 3u);
}

TEST(Filter, AnUnconditionalRuleIsTheOnlyOne) {
  CallTable table;
  table.add(1, {{{0, Comparison::eq, 1, 0}}, 2});
  table.add(1, {{}, 3});
  table.add(1, {{}, 4});
  ASSERT_EQ(table.calls[1].size(), 1u);
  EXPECT_EQ(table.calls[1][0].verdict, 3u);
}

}  // namespace
}  // namespace nagaya::container
