// Seccomp profiles made into BPF programs. The numbers of system calls are libseccomp's; the program is made here, because libseccomp
// needs tens of milliseconds for the usual profile, several times what all the rest of a container's start takes. Tests compare the two.
// Source: seccomp(2); OCI Runtime Specification 1.1 config-linux.md "Seccomp".
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "container/security/filter.hpp"
#include "container/security/seccomp_names.hpp"
#include "container/security/security.hpp"

namespace nagaya::container {
namespace {

constexpr u32 x32_bit = 0x4000'0000;

Result<u32> action_of(const std::string& name, std::optional<u32> errno_ret) {
  const auto action = seccomp_action(name);
  if (!action) return fail("'" + name + "' is no seccomp action");
  if (*action != SECCOMP_RET_ERRNO && *action != SECCOMP_RET_TRACE) return *action;
  constexpr u32 most = 4095;  // MAX_ERRNO, linux/err.h
  const u32 number = errno_ret.value_or(EPERM);
  if (number > most) return fail("seccomp: errnoRet is " + std::to_string(number), "at most 4095");
  return *action | number;
}

/// Whether the default lets calls through: then there is nothing to make up for calls it does not know.
bool is_lenient(u32 action) {
  const u32 kind = action & SECCOMP_RET_ACTION_FULL;
  return kind == SECCOMP_RET_ALLOW || kind == SECCOMP_RET_LOG || kind == SECCOMP_RET_TRACE;
}

Result<std::vector<Condition>> conditions_of(const SeccompRule& rule) {
  std::vector<Condition> out;
  for (const SeccompArg& arg : rule.args) {
    const auto op = seccomp_operator(arg.op);
    if (!op) return fail("'" + arg.op + "' is no seccomp operator");
    if (arg.index > 5) return fail("seccomp: a rule looks at argument " + std::to_string(arg.index), "they are 0 to 5");
    out.push_back({arg.index, *op, arg.value, arg.value_two});
  }
  return out;
}

/// The cases that a rule means: two conditions on one argument are alternatives, as peers read them.
std::vector<Case> cases_of(const std::vector<Condition>& conditions, u32 action) {
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    for (std::size_t k = 0; k < i; ++k) {
      if (conditions[i].index != conditions[k].index) continue;
      std::vector<Case> out;
      for (const Condition& one : conditions) out.push_back({{one}, action});
      return out;
    }
  }
  return {{conditions, action}};
}

constexpr u32 no_number = ~0u;

/// One architecture's calls, filled rule by rule.
struct Abi {
  u32 token = 0;  ///< SCMP_ARCH_*
  CallTable table{};

  void add(const std::string& name, const std::vector<Case>& cases) {
    const auto put = [&](u32 number) {
      for (const Case& one : cases) table.add(number, one);
    };
    if (token == SCMP_ARCH_X86) {
      // Sockets and System V IPC have two ways in: a number of their own, and one number for all of them.
      if (const auto shared = multiplexed(name)) {
        if (shared->own_number != no_number) put(shared->own_number);
        if (cases.front().conditions.empty()) table.add(shared->number, {{{0, Comparison::eq, shared->first_argument, 0}}, cases.front().verdict});
        return;
      }
    }
    const int number = seccomp_syscall_resolve_name_arch(token, name.c_str());
    if (number >= 0) {
      put(static_cast<u32>(number) & ~(token == SCMP_ARCH_X32 ? x32_bit : 0));
    } else if (number == __NR_SCMP_ERROR) {
      if (const auto newer = newer_call(name)) put(*newer);
    }
    // Other negative numbers are calls of other architectures.
  }
};

/// Who calls by which numbers, then the decision; calls of an architecture that is not in the profile end the process.
Program assemble(const std::vector<Abi>& abis) {
  constexpr u16 equal = BPF_JMP | BPF_JEQ | BPF_K, at_least = BPF_JMP | BPF_JGE | BPF_K;
  const auto decision = [&](u32 token) {
    const auto found = std::ranges::find(abis, token, &Abi::token);
    return found == abis.end() ? verdict(SECCOMP_RET_KILL_PROCESS) : decide(found->table);
  };
  const auto after_number = [](Program rest) {
    Program out = load(offsetof(seccomp_data, nr));
    out.insert(out.end(), rest.begin(), rest.end());
    return out;
  };
  Program x86_64 = after_number(branch(at_least, x32_bit, decision(SCMP_ARCH_X32), decision(SCMP_ARCH_X86_64)));
  Program x86 = after_number(decision(SCMP_ARCH_X86));
  Program out = load(offsetof(seccomp_data, arch));
  const Program others = branch(equal, AUDIT_ARCH_I386, std::move(x86), verdict(SECCOMP_RET_KILL_PROCESS));
  const Program rest = branch(equal, AUDIT_ARCH_X86_64, std::move(x86_64), others);
  out.insert(out.end(), rest.begin(), rest.end());
  return out;
}

Result<std::vector<Abi>> abis_of(const Seccomp& seccomp, u32 fallback) {
  std::vector<Abi> out = {{SCMP_ARCH_X86_64}};
  for (const std::string& name : seccomp.architectures) {
    const auto token = seccomp_architecture(name);
    if (!token) return fail("'" + name + "' is no architecture that seccomp knows");
    // Processes of other families cannot run here.
    const bool ours = *token == SCMP_ARCH_X86 || *token == SCMP_ARCH_X32;
    if (ours && std::ranges::find(out, *token, &Abi::token) == out.end()) out.push_back({*token});
  }
  for (Abi& abi : out) {
    abi.table.fallback = fallback;
    abi.table.narrow = abi.token != SCMP_ARCH_X86_64;  // x32 too, as libseccomp has it
    abi.table.number_offset = abi.token == SCMP_ARCH_X32 ? x32_bit : 0;
    if (is_lenient(fallback)) continue;
    // A C library falls back to an older call on ENOSYS; on EPERM it believes that it may not.
    abi.table.unknown_from = first_unknown_call();
    abi.table.unknown_verdict = SECCOMP_RET_ERRNO | ENOSYS;
  }
  return out;
}

}  // namespace

Result<SeccompProgram> SeccompProgram::compile(const Seccomp& seccomp) {
  TRY_ASSIGN(const u32 fallback, action_of(seccomp.default_action, seccomp.default_errno_ret));
  if (fallback == SECCOMP_RET_USER_NOTIF) return fail("seccomp: SCMP_ACT_NOTIFY cannot be the default action", "the call that starts the container would wait, too");
  TRY_ASSIGN(std::vector<Abi> abis, abis_of(seccomp, fallback));
  SeccompProgram out;
  for (const std::string& name : seccomp.flags) {
    const auto flag = seccomp_flag(name);
    if (!flag) return fail("'" + name + "' is no seccomp flag");
    out.flags_ |= *flag;
  }
  // Without a word about flags, speed: peers do the same, and newer kernels by themselves.
  if (seccomp.flags.empty()) out.flags_ |= SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  for (const SeccompRule& rule : seccomp.syscalls) {
    TRY_ASSIGN(const u32 action, action_of(rule.action, rule.errno_ret));
    TRY_ASSIGN(const auto conditions, conditions_of(rule));
    if (action == SECCOMP_RET_USER_NOTIF) out.listener_ = true;
    if (action == fallback) continue;
    const std::vector<Case> cases = cases_of(conditions, action);
    for (const std::string& name : rule.names)
      for (Abi& abi : abis) abi.add(name, cases);
  }
  const Program program = assemble(abis);
  if (program.size() > BPF_MAXINSNS) return fail("the seccomp profile is too long", "the kernel takes 4096 instructions");
  out.program_.resize(program.size() * sizeof(sock_filter));
  std::memcpy(out.program_.data(), program.data(), out.program_.size());
  return out;
}

Result<host::Fd> SeccompProgram::load() const {
  // The program lies in a vector of bytes, whose memory is aligned for any type.
  const sock_fprog filter{static_cast<unsigned short>(program_.size() / sizeof(sock_filter)),
                          reinterpret_cast<sock_filter*>(const_cast<u8*>(program_.data()))};
  unsigned flags = flags_;
  if (listener_) {
    // The two do not go together, and there is one thread only.
    flags = (flags & ~static_cast<unsigned>(SECCOMP_FILTER_FLAG_TSYNC)) | SECCOMP_FILTER_FLAG_NEW_LISTENER;
  }
  const long done = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
  if (done < 0) {
    const int code = errno;
    return fail_errno("cannot load the seccomp program", code,
                      code == EACCES ? "it needs no_new_privs or CAP_SYS_ADMIN" : "");
  }
  return listener_ ? host::Fd(static_cast<int>(done)) : host::Fd();
}

SeccompFeatures seccomp_features() {
  SeccompFeatures out;
  list_seccomp_names(out);
  return out;
}

}  // namespace nagaya::container
