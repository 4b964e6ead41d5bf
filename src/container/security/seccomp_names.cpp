#include "container/security/seccomp_names.hpp"

#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace nagaya::container {
namespace {

struct Named {
  std::string_view name;
  u32 value;
};

constexpr std::array actions = {
    Named{"SCMP_ACT_KILL", SECCOMP_RET_KILL_THREAD},         Named{"SCMP_ACT_KILL_THREAD", SECCOMP_RET_KILL_THREAD},
    Named{"SCMP_ACT_KILL_PROCESS", SECCOMP_RET_KILL_PROCESS}, Named{"SCMP_ACT_TRAP", SECCOMP_RET_TRAP},
    Named{"SCMP_ACT_ERRNO", SECCOMP_RET_ERRNO},               Named{"SCMP_ACT_TRACE", SECCOMP_RET_TRACE},
    Named{"SCMP_ACT_ALLOW", SECCOMP_RET_ALLOW},               Named{"SCMP_ACT_LOG", SECCOMP_RET_LOG},
    Named{"SCMP_ACT_NOTIFY", SECCOMP_RET_USER_NOTIF},
};
struct NamedComparison {
  std::string_view name;
  Comparison value;
};
constexpr std::array operators = {
    NamedComparison{"SCMP_CMP_NE", Comparison::ne}, NamedComparison{"SCMP_CMP_LT", Comparison::lt},
    NamedComparison{"SCMP_CMP_LE", Comparison::le}, NamedComparison{"SCMP_CMP_EQ", Comparison::eq},
    NamedComparison{"SCMP_CMP_GE", Comparison::ge}, NamedComparison{"SCMP_CMP_GT", Comparison::gt},
    NamedComparison{"SCMP_CMP_MASKED_EQ", Comparison::masked_eq},
};
// Linux arch/x86/entry/syscalls/syscall_32.tbl; include/uapi/linux/net.h (SYS_*), ipc.h.
constexpr u32 socketcall = 102, ipc = 117, none = ~0u;
constexpr std::array multiplexed_calls = {
    Multiplexed{"socket", 359, socketcall, 1},       Multiplexed{"bind", 361, socketcall, 2},         Multiplexed{"connect", 362, socketcall, 3},
    Multiplexed{"listen", 363, socketcall, 4},       Multiplexed{"accept", none, socketcall, 5},      Multiplexed{"getsockname", 367, socketcall, 6},
    Multiplexed{"getpeername", 368, socketcall, 7},  Multiplexed{"socketpair", 360, socketcall, 8},   Multiplexed{"send", none, socketcall, 9},
    Multiplexed{"recv", none, socketcall, 10},       Multiplexed{"sendto", 369, socketcall, 11},      Multiplexed{"recvfrom", 371, socketcall, 12},
    Multiplexed{"shutdown", 373, socketcall, 13},    Multiplexed{"setsockopt", 366, socketcall, 14},  Multiplexed{"getsockopt", 365, socketcall, 15},
    Multiplexed{"sendmsg", 370, socketcall, 16},     Multiplexed{"recvmsg", 372, socketcall, 17},     Multiplexed{"accept4", 364, socketcall, 18},
    Multiplexed{"recvmmsg", 337, socketcall, 19},    Multiplexed{"sendmmsg", 345, socketcall, 20},    Multiplexed{"semop", none, ipc, 1},
    Multiplexed{"semget", 393, ipc, 2},              Multiplexed{"semctl", 394, ipc, 3},              Multiplexed{"semtimedop", none, ipc, 4},
    Multiplexed{"msgsnd", 400, ipc, 11},             Multiplexed{"msgrcv", 401, ipc, 12},             Multiplexed{"msgget", 399, ipc, 13},
    Multiplexed{"msgctl", 402, ipc, 14},             Multiplexed{"shmat", 397, ipc, 21},              Multiplexed{"shmdt", 398, ipc, 22},
    Multiplexed{"shmget", 395, ipc, 23},             Multiplexed{"shmctl", 396, ipc, 24},
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

template <class Table>
auto find(const Table& table, std::string_view name) -> std::optional<decltype(table[0].value)> {
  for (const auto& one : table)
    if (one.name == name) return one.value;
  return std::nullopt;
}

template <class Table>
std::vector<std::string> all(const Table& table) {
  std::vector<std::string> out;
  for (const auto& one : table) out.emplace_back(one.name);
  return out;
}

/// A flag that the kernel knows makes it look at the program, which is nowhere: EFAULT. One it does not know: EINVAL.
bool kernel_knows_flag(u32 flag) {
  return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flag, nullptr) < 0 && errno == EFAULT;
}

}  // namespace

std::optional<u32> seccomp_action(std::string_view name) { return find(actions, name); }
std::optional<Comparison> seccomp_operator(std::string_view name) { return find(operators, name); }
std::optional<u32> seccomp_architecture(std::string_view name) { return find(architectures, name); }
std::optional<u32> seccomp_flag(std::string_view name) { return find(flags, name); }
std::optional<u32> newer_call(std::string_view name) { return find(newer_calls, name); }

u32 first_unknown_call() {
  for (const Named& one : newer_calls)
    if (seccomp_syscall_resolve_name(std::string(one.name).c_str()) == __NR_SCMP_ERROR) return one.value;
  return newer_calls.back().value + 1;
}

const Multiplexed* multiplexed(std::string_view name) {
  for (const Multiplexed& one : multiplexed_calls)
    if (one.name == name) return &one;
  return nullptr;
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
