#include "host/syscall_filter.hpp"

#include <fmt/format.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>

namespace nagaya::host {
namespace {

constexpr u32 x32_bit = 0x4000'0000;  // the other ABI has numbers of its own
constexpr u32 offset_number = offsetof(seccomp_data, nr), offset_arch = offsetof(seccomp_data, arch);

/// The low half of an argument.
u32 offset_argument(unsigned index) { return static_cast<u32>(offsetof(seccomp_data, args) + index * sizeof(u64)); }

sock_filter statement(u16 code, u32 k) { return {code, 0, 0, k}; }
sock_filter jump_if_equal(u32 k, u8 if_true, u8 if_false) { return {BPF_JMP | BPF_JEQ | BPF_K, if_true, if_false, k}; }
sock_filter load(u32 offset) { return statement(BPF_LD | BPF_W | BPF_ABS, offset); }
sock_filter give(u32 verdict) { return statement(BPF_RET | BPF_K, verdict); }

/// Says which call it was, and dies. Async-signal-safe.
[[noreturn]] void on_unlisted(int, siginfo_t* info, void*) {
  char text[] = "nagaya: system call      is not on the list of the jail\n";
  char* digit = text + sizeof "nagaya: system call      " - 3;
  for (int number = info->si_syscall; number > 0; number /= 10) *digit-- = static_cast<char>('0' + number % 10);
  (void)!::write(STDERR_FILENO, text, sizeof text - 1);
  ::_exit(128 + SIGSYS);
}

}  // namespace

SyscallFilter& SyscallFilter::allow(std::initializer_list<long> numbers) {
  for (const long number : numbers) rules_.push_back({number, {}});
  return *this;
}

SyscallFilter& SyscallFilter::allow_if(long number, unsigned argument, std::span<const u32> values, u32 mask) {
  rules_.push_back({number, {{argument, mask, {values.begin(), values.end()}}}});
  return *this;
}

SyscallFilter& SyscallFilter::allow_if(long number, unsigned argument, std::initializer_list<u32> values, u32 mask) {
  return allow_if(number, argument, std::span(values.begin(), values.size()), mask);
}

SyscallFilter& SyscallFilter::allow_if_both(long number, unsigned argument, u32 value, unsigned argument2, u32 value2, u32 mask2) {
  rules_.push_back({number, {{argument, ~u32{0}, {value}}, {argument2, mask2, {value2}}}});
  return *this;
}

SyscallFilter& SyscallFilter::refuse(long number, int code) {
  rules_.push_back({number, {}, code});
  return *this;
}

Result<> SyscallFilter::enter(Unlisted unlisted) const {
  const u32 otherwise = unlisted == Unlisted::report ? SECCOMP_RET_TRAP : SECCOMP_RET_ERRNO | u32{EPERM};
  std::vector<sock_filter> code = {
      load(offset_arch),   jump_if_equal(AUDIT_ARCH_X86_64, 1, 0), give(SECCOMP_RET_KILL_PROCESS),
      load(offset_number), {BPF_JMP | BPF_JGE | BPF_K, 0, 1, x32_bit}, give(SECCOMP_RET_KILL_PROCESS),
  };
  for (const Rule& rule : rules_) {
    std::vector<sock_filter> body;
    // Each check that fails leads to the next rule, which may be for the same call with other arguments.
    for (const Check& check : rule.checks) {
      std::vector<sock_filter> part = {load(offset_argument(check.argument))};
      if (check.mask != ~u32{0}) part.push_back(statement(BPF_ALU | BPF_AND | BPF_K, check.mask));
      for (std::size_t i = 0; i < check.values.size(); ++i) {
        // Over the rest of the values, and over the way out.
        part.push_back(jump_if_equal(check.values[i], static_cast<u8>(check.values.size() - i), 0));
      }
      part.push_back(statement(BPF_JMP | BPF_JA, 0));  // its distance is known below
      body.insert(body.end(), part.begin(), part.end());
    }
    body.push_back(give(rule.refusal != 0 ? SECCOMP_RET_ERRNO | static_cast<u32>(rule.refusal) : u32{SECCOMP_RET_ALLOW}));
    if (!rule.checks.empty()) body.push_back(load(offset_number));  // where failed checks go on
    for (std::size_t at = 0; at < body.size(); ++at) {
      if (body[at].code == (BPF_JMP | BPF_JA)) body[at].k = static_cast<u32>(body.size() - 2 - at);
    }
    if (body.size() > 255) return fail("cannot enter the jail", fmt::format("the rule for system call {} is too long", rule.number));
    code.push_back(jump_if_equal(static_cast<u32>(rule.number), 0, static_cast<u8>(body.size())));
    code.insert(code.end(), body.begin(), body.end());
  }
  code.push_back(give(otherwise));
  if (code.size() > BPF_MAXINSNS) return fail("cannot enter the jail", "its list is too long");

  if (unlisted == Unlisted::report) {
    struct sigaction action {};
    action.sa_sigaction = on_unlisted;
    action.sa_flags = SA_SIGINFO;
    ::sigaction(SIGSYS, &action, nullptr);
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno("cannot give up privileges");
  const sock_fprog filter{static_cast<unsigned short>(code.size()), code.data()};
  const long done = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter);
  if (done > 0) return fail("cannot enter the jail", "a thread is in another one");
  if (done < 0) return fail_errno("cannot enter the jail");
  return {};
}

}  // namespace nagaya::host
