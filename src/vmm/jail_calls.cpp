// The list of system calls of a running machine, by what it is made of. Each one that is not here fails with EPERM.
#include <asm/prctl.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "engine/kvm/running_requests.hpp"
#include "engine/soft/direct/process.hpp"
#include "vmm/jail.hpp"

namespace nagaya::vmm {
namespace {

/// Threads of this process, as the C library starts them.
constexpr u32 thread_flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |
                             CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;

/// Reading, writing and waiting on what is open.
void add_io(host::SyscallFilter& out) {
  out.allow({SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev, SYS_preadv2, SYS_pwritev2,
             SYS_lseek, SYS_close, SYS_fstat, SYS_newfstatat, SYS_fstatfs, SYS_ftruncate, SYS_fallocate, SYS_fsync, SYS_fdatasync,
             SYS_fadvise64, SYS_poll, SYS_ppoll, SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_ctl, SYS_epoll_create1, SYS_eventfd2,
             SYS_timerfd_create, SYS_timerfd_settime, SYS_recvmsg, SYS_sendmsg, SYS_recvfrom, SYS_sendto, SYS_sendmmsg, SYS_accept4,
             SYS_shutdown, SYS_getsockopt});
  out.allow_if(SYS_fcntl, 1, {F_GETFL, F_SETFL, F_GETFD, F_SETFD, F_DUPFD_CLOEXEC, F_OFD_SETLK, F_OFD_GETLK});
  out.allow_if_both(SYS_setsockopt, 1, SOL_SOCKET, 2, SO_SNDBUF);
}

/// Memory, none of it executable: the engine has made its own before.
void add_memory(host::SyscallFilter& out) {
  out.allow_if(SYS_mmap, 2, {0}, PROT_EXEC).allow_if(SYS_mprotect, 2, {0}, PROT_EXEC);
  out.allow({SYS_munmap, SYS_mremap, SYS_madvise, SYS_brk});
}

void add_threads(host::SyscallFilter& out) {
  out.allow({SYS_futex, SYS_nanosleep, SYS_clock_nanosleep, SYS_clock_gettime, SYS_clock_getres, SYS_gettimeofday, SYS_sched_yield,
             SYS_exit, SYS_exit_group, SYS_gettid, SYS_getpid, SYS_set_robust_list, SYS_rseq, SYS_rt_sigaction, SYS_rt_sigprocmask,
             SYS_rt_sigreturn, SYS_sigaltstack, SYS_restart_syscall, SYS_getrandom, SYS_getcpu, SYS_geteuid, SYS_umask});
  out.allow_if(SYS_tgkill, 0, {static_cast<u32>(::getpid())});
  out.allow_if(SYS_clone, 0, {thread_flags});
  // It hides its flags in memory; the C library falls back to clone.
  out.refuse(SYS_clone3, ENOSYS);
  out.allow_if(SYS_sched_getaffinity, 0, {0});
  out.allow_if_both(SYS_prlimit64, 0, 0, 2, 0);
  // The name of an anonymous mapping: what the C library gives its own.
  constexpr u32 set_vma = 0x53564d41;
  out.allow_if(SYS_prctl, 0, {PR_SET_NAME, set_vma});
}

/// Files below the folders of shares, and of sockets.
void add_shares(host::SyscallFilter& out, bool writable) {
  out.allow({SYS_openat2, SYS_readlinkat, SYS_faccessat2, SYS_faccessat, SYS_getdents64, SYS_syncfs, SYS_getxattr, SYS_listxattr,
             SYS_statfs});
  if (!writable) {
    out.allow_if(SYS_openat, 2, {0}, O_ACCMODE | O_CREAT | O_TRUNC);
    return;
  }
  out.allow({SYS_openat, SYS_mkdirat, SYS_symlinkat, SYS_linkat, SYS_unlinkat, SYS_renameat, SYS_renameat2, SYS_fchmod, SYS_fchmodat,
             SYS_chmod, SYS_fchown, SYS_fchownat, SYS_utimensat, SYS_setxattr, SYS_removexattr, SYS_copy_file_range, SYS_truncate});
  // FIFOs, sockets and whiteouts (device 0:0) are harmless nodes of a shared folder; devices are not.
  out.allow_if(SYS_mknodat, 2, {0, S_IFREG, S_IFIFO, S_IFSOCK}, S_IFMT);
  out.allow_if_both(SYS_mknodat, 3, 0, 2, S_IFCHR, S_IFMT);
}

void add_ioctls(host::SyscallFilter& out, const JailNeeds& needs) {
  std::vector<u32> numbers;
  if (needs.kvm) {
    const auto kvm = engine::kvm::running_requests();
    numbers.assign(kvm.begin(), kvm.end());
  }
  // Not TIOCSTI, which would type into the shell that started us.
  numbers.insert(numbers.end(), {TCGETS, TCSETS, TCSETSW, TCSETSF, TIOCGWINSZ, BLKGETSIZE64});
  if (needs.nets) numbers.insert(numbers.end(), {TUNSETOFFLOAD, TUNSETQUEUE});
  out.allow_if(SYS_ioctl, 1, numbers);
}

/// The software engine's processes for direct execution: there already, traced already, and no others can be made or traced.
void add_direct(host::SyscallFilter& out) {
  out.allow_if(SYS_ptrace, 0, engine::soft::direct::running_requests());
  out.allow({SYS_wait4, SYS_pidfd_send_signal});
}

}  // namespace

host::SyscallFilter allowed_calls(const JailNeeds& needs) {
  host::SyscallFilter out;
  add_ioctls(out, needs);
  add_io(out);
  add_memory(out);
  add_threads(out);
  // The GS base of a thread is the software engine's where the host has no instruction for it.
  if (!needs.kvm) out.allow_if(SYS_arch_prctl, 0, {ARCH_SET_GS});
  if (!needs.kvm) add_direct(out);
  if (needs.io_uring) out.allow({SYS_io_uring_enter});
  if (needs.vsock) {
    out.allow_if(SYS_socket, 0, {AF_UNIX});
    out.allow({SYS_connect});
  }
  if (needs.shares) add_shares(out, needs.writable_shares);
  if (needs.save_file) out.allow({SYS_openat, SYS_renameat, SYS_unlinkat});
  return out;
}

}  // namespace nagaya::vmm
