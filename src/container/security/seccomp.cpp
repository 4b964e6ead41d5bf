// Seccomp profiles made into BPF programs by libseccomp, with a short program of our own before them: system calls
// newer than libseccomp answer ENOSYS instead of the profile's refusal, so that C libraries fall back to older ones.
// Source: seccomp(2); OCI Runtime Specification 1.1 config-linux.md "Seccomp".
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "container/security/seccomp_names.hpp"
#include "container/security/security.hpp"

namespace nagaya::container {
namespace {

using Context = std::unique_ptr<void, decltype(&seccomp_release)>;

std::unexpected<Error> library_error(const std::string& what, int code) {
  return fail_errno(what, code < 0 ? -code : code);
}

Result<u32> action_of(const std::string& name, std::optional<u32> errno_ret) {
  const auto action = seccomp_action(name);
  if (!action) return fail("'" + name + "' is no seccomp action");
  if (*action != SCMP_ACT_ERRNO(0) && *action != SCMP_ACT_TRACE(0)) return *action;
  const u32 number = errno_ret.value_or(EPERM);
  if (number > 4095) return fail("seccomp: errnoRet is " + std::to_string(number), "at most 4095");
  return *action | number;
}

/// Rules of one action and one system call. Two conditions on one argument are alternatives: libseccomp wants them as
/// two rules.
Result<> add_rule(scmp_filter_ctx context, u32 action, int number, const SeccompRule& rule,
                  const std::vector<scmp_arg_cmp>& conditions) {
  const auto add = [&](const scmp_arg_cmp* first, unsigned count) -> Result<> {
    const int done = seccomp_rule_add_array(context, action, number, count, first);
    // A call that some of the architectures lack, or a rule that is there already.
    if (done == 0 || done == -EDOM || done == -EEXIST) return {};
    return library_error("seccomp: cannot add the rule of '" + rule.names.front() + "'", done);
  };
  bool twice = false;
  for (std::size_t i = 0; i < conditions.size(); ++i)
    for (std::size_t k = 0; k < i; ++k) twice |= conditions[i].arg == conditions[k].arg;
  if (!twice) return add(conditions.data(), static_cast<unsigned>(conditions.size()));
  for (const auto& one : conditions) TRY(add(&one, 1));
  return {};
}

Result<std::vector<scmp_arg_cmp>> conditions_of(const SeccompRule& rule) {
  std::vector<scmp_arg_cmp> out;
  for (const SeccompArg& arg : rule.args) {
    const auto op = seccomp_operator(arg.op);
    if (!op) return fail("'" + arg.op + "' is no seccomp operator");
    if (arg.index > 5) return fail("seccomp: a rule looks at argument " + std::to_string(arg.index), "they are 0 to 5");
    out.push_back({arg.index, static_cast<scmp_compare>(*op), arg.value, arg.value_two});
  }
  return out;
}

Result<std::vector<u8>> exported(scmp_filter_ctx context) {
  const host::Fd file(::memfd_create("seccomp", MFD_CLOEXEC));
  if (!file) return fail_errno("cannot create a memory file");
  if (const int done = seccomp_export_bpf(context, file.get()); done != 0)
    return library_error("cannot make the seccomp program", done);
  if (::lseek(file.get(), 0, SEEK_SET) != 0) return fail_errno("cannot read the seccomp program");
  return host::read_all(file.get(), BPF_MAXINSNS * sizeof(sock_filter), "seccomp program");
}

/// What is decided before libseccomp's program.
std::vector<sock_filter> preamble(const std::vector<u32>& architectures, bool stub,
                                  const std::vector<std::pair<u32, u32>>& newer_rules) {
  constexpr u32 x32_bit = 0x4000'0000;
  std::vector<sock_filter> out;
  if (!stub && newer_rules.empty()) return out;
  for (const u32 token : architectures) {
    const bool x32 = token == SCMP_ARCH_X32;
    const u32 bit = x32 ? x32_bit : 0;
    std::vector<sock_filter> body;
    const auto add = [&body](u16 code, u32 k, u8 yes, u8 no) { body.push_back({code, yes, no, k}); };
    add(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr), 0, 0);
    for (const auto& [number, verdict] : newer_rules) {
      add(BPF_JMP | BPF_JEQ | BPF_K, number | bit, 0, 1);
      add(BPF_RET | BPF_K, verdict, 0, 0);
    }
    if (stub) {
      const u32 newest = newest_known_call(token) | bit;
      // Native numbers end where those of x32 begin.
      add(BPF_JMP | BPF_JGT | BPF_K, newest, 0, x32 ? 1 : 2);
      if (!x32) add(BPF_JMP | BPF_JGE | BPF_K, x32_bit, 1, 0);
      add(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS, 0, 0);
    }
    out.push_back({BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, arch)});
    out.push_back(
        {BPF_JMP | BPF_JEQ | BPF_K, 0, static_cast<u8>(body.size()), x32 ? static_cast<u32>(SCMP_ARCH_X86_64) : token});
    out.insert(out.end(), body.begin(), body.end());
  }
  return out;
}

/// The verdict seccomp(2) knows for an action of libseccomp: the same numbers, by that library's design.
bool is_lenient(u32 action) {
  const u32 kind = action & 0xffff'0000;
  return kind == SCMP_ACT_ALLOW || kind == SCMP_ACT_LOG || kind == SCMP_ACT_TRACE(0) || kind == SCMP_ACT_NOTIFY;
}

}  // namespace

Result<SeccompProgram> SeccompProgram::compile(const Seccomp& seccomp) {
  TRY_ASSIGN(const u32 fallback, action_of(seccomp.default_action, seccomp.default_errno_ret));
  if (fallback == SCMP_ACT_NOTIFY)
    return fail("seccomp: SCMP_ACT_NOTIFY cannot be the default action",
                "the call that starts the container would wait, too");
  SeccompProgram out;
  const Context context(seccomp_init(fallback), &seccomp_release);
  if (!context) return fail("cannot begin a seccomp program");
  std::vector<u32> architectures = {seccomp_arch_native()};
  for (const std::string& name : seccomp.architectures) {
    const auto token = seccomp_architecture(name);
    if (!token) return fail("'" + name + "' is no architecture that seccomp knows");
    const int done = seccomp_arch_add(context.get(), *token);
    if (done != 0 && done != -EEXIST) return library_error("seccomp: cannot add the architecture " + name, done);
    if (done == 0) architectures.push_back(*token);
  }
  for (const std::string& name : seccomp.flags) {
    const auto flag = seccomp_flag(name);
    if (!flag) return fail("'" + name + "' is no seccomp flag");
    out.flags_ |= *flag;
  }
  // Without a word about flags, speed: peers do the same, and newer kernels by themselves.
  if (seccomp.flags.empty()) out.flags_ |= SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  std::vector<std::pair<u32, u32>> newer_rules;
  for (const SeccompRule& rule : seccomp.syscalls) {
    TRY_ASSIGN(const u32 action, action_of(rule.action, rule.errno_ret));
    TRY_ASSIGN(const auto conditions, conditions_of(rule));
    if (action == SCMP_ACT_NOTIFY) out.listener_ = true;
    if (action == fallback) continue;
    for (const std::string& name : rule.names) {
      const int number = seccomp_syscall_resolve_name(name.c_str());
      if (number != __NR_SCMP_ERROR) {
        TRY(add_rule(context.get(), action, number, rule, conditions));
      } else if (const auto newer = newer_call(name); newer && conditions.empty()) {
        newer_rules.emplace_back(*newer, action);
      }
    }
  }
  TRY_ASSIGN(const std::vector<u8> program, exported(context.get()));
  const auto before = preamble(architectures, !is_lenient(fallback), newer_rules);
  if (before.size() + program.size() / sizeof(sock_filter) > BPF_MAXINSNS)
    return fail("the seccomp profile is too long", "the kernel takes 4096 instructions");
  out.program_.resize(before.size() * sizeof(sock_filter));
  std::memcpy(out.program_.data(), before.data(), out.program_.size());
  out.program_.insert(out.program_.end(), program.begin(), program.end());
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
