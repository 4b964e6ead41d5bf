#include "container/security/seccomp_names.hpp"

#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>

namespace nagaya::container {
namespace {

struct Named {
  std::string_view name;
  u32 value;
};

constexpr std::array actions = {
    Named{"SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD},
    Named{"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD},
    Named{"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS},
    Named{"SCMP_ACT_TRAP", SCMP_ACT_TRAP},
    Named{"SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0)},
    Named{"SCMP_ACT_TRACE", SCMP_ACT_TRACE(0)},
    Named{"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW},
    Named{"SCMP_ACT_LOG", SCMP_ACT_LOG},
    Named{"SCMP_ACT_NOTIFY", SCMP_ACT_NOTIFY},
};
constexpr std::array operators = {
    Named{"SCMP_CMP_NE", SCMP_CMP_NE},
    Named{"SCMP_CMP_LT", SCMP_CMP_LT},
    Named{"SCMP_CMP_LE", SCMP_CMP_LE},
    Named{"SCMP_CMP_EQ", SCMP_CMP_EQ},
    Named{"SCMP_CMP_GE", SCMP_CMP_GE},
    Named{"SCMP_CMP_GT", SCMP_CMP_GT},
    Named{"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ},
};
constexpr std::array architectures = {
    Named{"SCMP_ARCH_X86", SCMP_ARCH_X86},
    Named{"SCMP_ARCH_X86_64", SCMP_ARCH_X86_64},
    Named{"SCMP_ARCH_X32", SCMP_ARCH_X32},
    Named{"SCMP_ARCH_ARM", SCMP_ARCH_ARM},
    Named{"SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64},
    Named{"SCMP_ARCH_MIPS", SCMP_ARCH_MIPS},
    Named{"SCMP_ARCH_MIPS64", SCMP_ARCH_MIPS64},
    Named{"SCMP_ARCH_MIPS64N32", SCMP_ARCH_MIPS64N32},
    Named{"SCMP_ARCH_MIPSEL", SCMP_ARCH_MIPSEL},
    Named{"SCMP_ARCH_MIPSEL64", SCMP_ARCH_MIPSEL64},
    Named{"SCMP_ARCH_MIPSEL64N32", SCMP_ARCH_MIPSEL64N32},
    Named{"SCMP_ARCH_PPC", SCMP_ARCH_PPC},
    Named{"SCMP_ARCH_PPC64", SCMP_ARCH_PPC64},
    Named{"SCMP_ARCH_PPC64LE", SCMP_ARCH_PPC64LE},
    Named{"SCMP_ARCH_S390", SCMP_ARCH_S390},
    Named{"SCMP_ARCH_S390X", SCMP_ARCH_S390X},
    Named{"SCMP_ARCH_PARISC", SCMP_ARCH_PARISC},
    Named{"SCMP_ARCH_PARISC64", SCMP_ARCH_PARISC64},
    Named{"SCMP_ARCH_RISCV64", SCMP_ARCH_RISCV64},
};
constexpr std::array flags = {
    Named{"SECCOMP_FILTER_FLAG_TSYNC", SECCOMP_FILTER_FLAG_TSYNC},
    Named{"SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG},
    Named{"SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW},
    Named{"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV},
};
// Numbers from Linux arch/x86/entry/syscalls/syscall_64.tbl; the common table scripts/syscall.tbl has the same.
constexpr std::array newer_calls = {
    Named{"process_mrelease", 448},  Named{"futex_waitv", 449},      Named{"set_mempolicy_home_node", 450},
    Named{"cachestat", 451},         Named{"fchmodat2", 452},        Named{"map_shadow_stack", 453},
    Named{"futex_wake", 454},        Named{"futex_wait", 455},       Named{"futex_requeue", 456},
    Named{"statmount", 457},         Named{"listmount", 458},        Named{"lsm_get_self_attr", 459},
    Named{"lsm_set_self_attr", 460}, Named{"lsm_list_modules", 461}, Named{"mseal", 462},
    Named{"setxattrat", 463},        Named{"getxattrat", 464},       Named{"listxattrat", 465},
    Named{"removexattrat", 466},     Named{"open_tree_attr", 467},   Named{"file_getattr", 468},
    Named{"file_setattr", 469},
};

template <std::size_t size>
std::optional<u32> find(const std::array<Named, size>& table, std::string_view name) {
  for (const Named& one : table)
    if (one.name == name) return one.value;
  return std::nullopt;
}

template <std::size_t size>
std::vector<std::string> all(const std::array<Named, size>& table) {
  std::vector<std::string> out;
  for (const Named& one : table) out.emplace_back(one.name);
  return out;
}

/// A flag that the kernel knows makes it look at the program, which is nowhere: EFAULT. One it does not know: EINVAL.
bool kernel_knows_flag(u32 flag) {
  return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flag, nullptr) < 0 && errno == EFAULT;
}

bool library_knows(u32 architecture, int number) {
  char* name = seccomp_syscall_resolve_num_arch(architecture, number);
  std::free(name);
  return name != nullptr;
}

}  // namespace

std::optional<u32> seccomp_action(std::string_view name) { return find(actions, name); }
std::optional<u32> seccomp_operator(std::string_view name) { return find(operators, name); }
std::optional<u32> seccomp_architecture(std::string_view name) { return find(architectures, name); }
std::optional<u32> seccomp_flag(std::string_view name) { return find(flags, name); }
std::optional<u32> newer_call(std::string_view name) { return find(newer_calls, name); }

u32 newest_known_call(u32 architecture) {
  // Since 424 all architectures have the same numbers, without gaps that matter.
  constexpr int common = 424, far = 1024, x32_bit = 0x4000'0000;
  const int bit = architecture == SCMP_ARCH_X32 ? x32_bit : 0;
  int newest = common;
  for (int number = common, gap = 0; number < far && gap < 16; ++number, ++gap) {
    if (!library_knows(architecture, number | bit)) continue;
    newest = number;
    gap = 0;
  }
  return static_cast<u32>(newest);
}

void list_seccomp_names(SeccompFeatures& out) {
  out.actions = all(actions);
  out.operators = all(operators);
  out.architectures = all(architectures);
  out.known_flags = all(flags);
  for (const Named& one : flags)
    if (kernel_knows_flag(one.value)) out.supported_flags.emplace_back(one.name);
}

}  // namespace nagaya::container
