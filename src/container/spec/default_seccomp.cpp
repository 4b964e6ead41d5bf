// System calls a container may make unless its owner says otherwise. The list is of what programs use; left out are those that reach
// beyond the container (modules, kexec, clocks, other processes' memory without CAP_SYS_PTRACE, new namespaces without CAP_SYS_ADMIN,
// raw ports), and those whose history of holes is long and whose users are few (userfaultfd, io_uring, keyrings, bpf, perf).
#include <algorithm>
#include <cerrno>

#include "container/spec/defaults.hpp"

namespace nagaya::container {
namespace {

constexpr u64 namespace_flags = 0x7e020080;  // CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID, NET, and NEWTIME (unshare only)

const std::vector<std::string> files = {
    "access", "chdir", "chmod", "chown", "chown32", "close", "close_range", "copy_file_range", "creat", "dup", "dup2", "dup3", "faccessat",
    "faccessat2", "fadvise64", "fadvise64_64", "fallocate", "fchdir", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchown32", "fchownat", "fcntl",
    "fcntl64", "fdatasync", "fgetxattr", "flistxattr", "flock", "fremovexattr", "fsetxattr", "fstat", "fstat64", "fstatat64", "fstatfs",
    "fstatfs64", "fsync", "ftruncate", "ftruncate64", "futimesat", "getcwd", "getdents", "getdents64", "getxattr", "getxattrat",
    "inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "ioctl", "lchown", "lchown32", "lgetxattr", "link", "linkat",
    "listxattr", "listxattrat", "llistxattr", "lremovexattr", "lseek", "_llseek", "lsetxattr", "lstat", "lstat64", "mkdir", "mkdirat", "mknod",
    "mknodat", "name_to_handle_at", "newfstatat", "open", "openat", "openat2", "pread64", "preadv", "preadv2", "pwrite64", "pwritev",
    "pwritev2", "read", "readahead", "readlink", "readlinkat", "readv", "removexattr", "removexattrat", "rename", "renameat", "renameat2", "rmdir",
    "sendfile", "sendfile64", "setxattr", "setxattrat", "splice", "stat", "stat64", "statfs", "statfs64", "statx", "symlink", "symlinkat", "sync",
    "sync_file_range", "syncfs", "tee", "truncate", "truncate64", "umask", "unlink", "unlinkat", "utime", "utimensat", "utimensat_time64",
    "utimes", "vmsplice", "write", "writev", "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "cachestat", "statmount", "listmount"};

const std::vector<std::string> memory = {
    "brk", "get_mempolicy", "madvise", "map_shadow_stack", "mbind", "membarrier", "memfd_create", "memfd_secret", "mincore", "mlock", "mlock2",
    "mlockall", "mmap", "mmap2", "mprotect", "mremap", "mseal", "msync", "munlock", "munlockall", "munmap", "pkey_alloc", "pkey_free",
    "pkey_mprotect", "process_madvise", "process_mrelease", "remap_file_pages", "set_mempolicy", "set_mempolicy_home_node"};

const std::vector<std::string> processes = {
    "alarm", "arch_prctl", "capget", "capset", "execve", "execveat", "exit", "exit_group", "fork", "futex", "futex_requeue", "futex_time64",
    "futex_wait", "futex_waitv", "futex_wake", "get_robust_list", "get_thread_area", "getcpu", "getegid", "getegid32", "geteuid", "geteuid32",
    "getgid", "getgid32", "getgroups", "getgroups32", "getitimer", "getpgid", "getpgrp", "getpid", "getppid", "getpriority", "getrandom",
    "getresgid", "getresgid32", "getresuid", "getresuid32", "getrlimit", "getrusage", "getsid", "gettid", "getuid", "getuid32", "ioprio_get",
    "ioprio_set", "kill", "nanosleep", "pause", "pidfd_open", "pidfd_send_signal", "prctl", "prlimit64", "restart_syscall", "rseq", "rt_sigaction",
    "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "rt_sigtimedwait_time64",
    "rt_tgsigqueueinfo", "sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity", "sched_getattr", "sched_getparam",
    "sched_getscheduler", "sched_rr_get_interval", "sched_rr_get_interval_time64", "sched_setaffinity", "sched_setattr", "sched_setparam",
    "sched_setscheduler", "sched_yield", "seccomp", "set_robust_list", "set_thread_area", "set_tid_address", "setfsgid", "setfsgid32", "setfsuid",
    "setfsuid32", "setgid", "setgid32", "setgroups", "setgroups32", "setitimer", "setpgid", "setpriority", "setregid", "setregid32", "setresgid",
    "setresgid32", "setresuid", "setresuid32", "setreuid", "setreuid32", "setrlimit", "setsid", "setuid", "setuid32", "sigaltstack", "sigaction",
    "signal", "sigpending", "sigprocmask", "sigreturn", "sigsuspend", "sysinfo", "tgkill", "time", "times", "tkill", "ugetrlimit", "uname", "vfork",
    "wait4", "waitid", "waitpid"};

const std::vector<std::string> times_and_events = {
    "clock_getres", "clock_getres_time64", "clock_gettime", "clock_gettime64", "clock_nanosleep", "clock_nanosleep_time64", "epoll_create",
    "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_pwait2", "epoll_wait", "epoll_wait_old", "eventfd", "eventfd2",
    "gettimeofday", "io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_pgetevents_time64", "io_setup", "io_submit", "pipe", "pipe2",
    "poll", "ppoll", "ppoll_time64", "pselect6", "pselect6_time64", "select", "_newselect", "signalfd", "signalfd4", "timer_create", "timer_delete",
    "timer_getoverrun", "timer_gettime", "timer_gettime64", "timer_settime", "timer_settime64", "timerfd_create", "timerfd_gettime",
    "timerfd_gettime64", "timerfd_settime", "timerfd_settime64"};

const std::vector<std::string> communication = {
    "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "ipc", "listen", "mq_getsetattr", "mq_notify", "mq_open",
    "mq_timedreceive", "mq_timedreceive_time64", "mq_timedsend", "mq_timedsend_time64", "mq_unlink", "msgctl", "msgget", "msgrcv", "msgsnd", "recv",
    "recvfrom", "recvmmsg", "recvmmsg_time64", "recvmsg", "semctl", "semget", "semop", "semtimedop", "semtimedop_time64", "send", "sendmmsg",
    "sendmsg", "sendto", "setsockopt", "shmat", "shmctl", "shmdt", "shmget", "shutdown", "socketcall", "socketpair"};

/// System calls that belong to a capability, beside its own checks.
const std::vector<std::pair<std::string, std::vector<std::string>>> privileged = {
    {"CAP_SYS_ADMIN", {"bpf", "clone", "clone3", "fanotify_init", "fanotify_mark", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie", "mount",
                       "mount_setattr", "move_mount", "open_tree", "perf_event_open", "pivot_root", "quotactl", "quotactl_fd", "setdomainname", "sethostname", "setns",
                       "syslog", "umount", "umount2", "unshare"}},
    {"CAP_SYS_CHROOT", {"chroot"}},
    {"CAP_SYS_PTRACE", {"kcmp", "pidfd_getfd", "process_vm_readv", "process_vm_writev", "ptrace"}},
    {"CAP_SYS_MODULE", {"delete_module", "finit_module", "init_module"}},
    {"CAP_SYS_TIME", {"adjtimex", "clock_adjtime", "clock_adjtime64", "clock_settime", "clock_settime64", "settimeofday", "stime"}},
    {"CAP_SYS_BOOT", {"reboot"}},
    {"CAP_SYS_PACCT", {"acct"}},
    {"CAP_SYS_RAWIO", {"ioperm", "iopl"}},
    {"CAP_SYS_TTY_CONFIG", {"vhangup"}},
    {"CAP_SYS_NICE", {"migrate_pages", "move_pages"}},
    {"CAP_SYSLOG", {"syslog"}},
    {"CAP_BPF", {"bpf"}},
    {"CAP_PERFMON", {"perf_event_open"}},
    {"CAP_DAC_READ_SEARCH", {"open_by_handle_at"}},
};

SeccompRule permit(std::vector<std::string> names, std::vector<SeccompArg> args = {}) {
  return {.names = std::move(names), .action = "SCMP_ACT_ALLOW", .errno_ret = {}, .args = std::move(args)};
}

}  // namespace

Seccomp default_seccomp(const std::vector<std::string>& capabilities) {
  const auto has = [&](const char* name) { return std::ranges::find(capabilities, name) != capabilities.end(); };
  Seccomp out;
  out.default_action = "SCMP_ACT_ERRNO";
  out.default_errno_ret = EPERM;
  out.architectures = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"};
  for (const auto* group : {&files, &memory, &processes, &times_and_events, &communication}) out.syscalls.push_back(permit(*group));
  // Old personalities are harmless; the rest (no randomization of addresses …) is not asked for by programs.
  for (const u64 persona : {0x0u, 0x8u, 0x20000u, 0x20008u, 0xffffffffu}) {
    out.syscalls.push_back(permit({"personality"}, {{.index = 0, .value = persona, .op = "SCMP_CMP_EQ"}}));
  }
  // AF_VSOCK leads past the network namespace to a hypervisor; AF_ALG and the like are seldom asked for and often broken.
  constexpr u64 local = 1, ip4 = 2, ip6 = 10, netlink = 16, packet = 17;
  for (const u64 family : {local, ip4, ip6, netlink, packet}) {
    out.syscalls.push_back(permit({"socket"}, {{.index = 0, .value = family, .op = "SCMP_CMP_EQ"}}));
  }
  for (const auto& [capability, names] : privileged) {
    if (has(capability.c_str())) out.syscalls.push_back(permit(names));
  }
  if (!has("CAP_SYS_ADMIN")) {
    // New processes and threads, but no new namespaces. The flags of clone3 lie in memory: the C library then takes clone.
    out.syscalls.push_back(permit({"clone"}, {{.index = 0, .value = namespace_flags, .value_two = 0, .op = "SCMP_CMP_MASKED_EQ"}}));
    out.syscalls.push_back({.names = {"clone3"}, .action = "SCMP_ACT_ERRNO", .errno_ret = ENOSYS, .args = {}});
  }
  return out;
}

}  // namespace nagaya::container
