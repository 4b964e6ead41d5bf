#include "host/jail.hpp"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <vector>

#include "base/types.hpp"

namespace nagaya::host {
namespace {

/// System calls that no part of a running machine needs.
constexpr std::array forbidden = {
    SYS_execve, SYS_execveat, SYS_fork, SYS_vfork, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_pidfd_getfd,
    SYS_kcmp,
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_move_mount, SYS_fsopen, SYS_fsmount, SYS_open_tree, SYS_mount_setattr,
    SYS_unshare, SYS_setns, SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid, SYS_setfsuid,
    SYS_setfsgid, SYS_setgroups, SYS_capset,
    SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_kexec_file_load, SYS_reboot, SYS_bpf,
    SYS_perf_event_open, SYS_userfaultfd, SYS_io_uring_setup, SYS_io_uring_register, SYS_add_key,
    SYS_request_key, SYS_keyctl, SYS_swapon, SYS_swapoff, SYS_acct, SYS_quotactl, SYS_iopl, SYS_ioperm, SYS_sethostname,
    SYS_setdomainname, SYS_settimeofday, SYS_clock_settime, SYS_adjtimex, SYS_clock_adjtime, SYS_mknod,
    SYS_open_by_handle_at, SYS_name_to_handle_at, SYS_personality, SYS_syslog, SYS_lookup_dcookie, SYS_modify_ldt,
};

/// What changes folders and files by name.
constexpr std::array file_changes = {
    SYS_creat, SYS_open, SYS_openat2, SYS_rename, SYS_renameat, SYS_renameat2, SYS_unlink, SYS_unlinkat, SYS_rmdir, SYS_mkdir, SYS_mkdirat,
    SYS_link, SYS_linkat, SYS_symlink, SYS_symlinkat, SYS_truncate, SYS_chmod, SYS_fchmodat, SYS_chown, SYS_lchown, SYS_fchownat,
    SYS_setxattr, SYS_lsetxattr, SYS_removexattr, SYS_lremovexattr, SYS_utime, SYS_utimes, SYS_utimensat, SYS_futimesat,
};

constexpr u32 offset_number = offsetof(seccomp_data, nr);
constexpr u32 offset_arch = offsetof(seccomp_data, arch);
constexpr u32 offset_arg0 = offsetof(seccomp_data, args);  // low half of the first argument
constexpr u32 offset_arg2 = offset_arg0 + 2 * sizeof(u64), offset_arg3 = offset_arg0 + 3 * sizeof(u64);
constexpr u32 x32_bit = 0x4000'0000;                       // the other ABI has numbers of its own

sock_filter statement(u16 code, u32 k) { return {code, 0, 0, k}; }
sock_filter jump(u16 code, u32 k, u8 if_true, u8 if_false) { return {code, if_true, if_false, k}; }
sock_filter load(u32 offset) { return statement(BPF_LD | BPF_W | BPF_ABS, offset); }
sock_filter give(u32 verdict) { return statement(BPF_RET | BPF_K, verdict); }
constexpr u32 refuse(int code) { return SECCOMP_RET_ERRNO | static_cast<u32>(code); }

std::vector<sock_filter> program(const JailOptions& options) {
  std::vector<sock_filter> out = {
      load(offset_arch),
      jump(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
      give(SECCOMP_RET_KILL_PROCESS),
      load(offset_number),
      jump(BPF_JMP | BPF_JGE | BPF_K, x32_bit, 0, 1),
      give(refuse(EPERM)),
  };
  const auto forbid = [&](long number) {
    out.push_back(jump(BPF_JMP | BPF_JEQ | BPF_K, static_cast<u32>(number), 0, 1));
    out.push_back(give(refuse(EPERM)));
  };
  for (const long number : forbidden) forbid(number);
  if (!options.threads) forbid(SYS_clone);
  const auto add = [&](std::initializer_list<sock_filter> more) { out.insert(out.end(), more); };
  // clone3 hides its flags in memory; the C library falls back to clone, whose flags can be seen: threads only.
  add({jump(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1), give(refuse(ENOSYS))});
  add({jump(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4), load(offset_arg0),
       jump(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1), give(SECCOMP_RET_ALLOW), give(refuse(EPERM))});
  if (!options.write_files) {
    forbid(SYS_mknodat);
    for (const long number : file_changes) forbid(number);
    // The C library opens with openat(folder, name, flags).
    constexpr u32 changes = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC;
    add({jump(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 4), load(offset_arg2), jump(BPF_JMP | BPF_JSET | BPF_K, changes, 0, 1),
         give(refuse(EPERM)), give(SECCOMP_RET_ALLOW)});
  }
  std::vector<u32> families = {AF_UNIX};
  if (options.network) families.insert(families.end(), {AF_INET, AF_INET6});
  add({jump(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, static_cast<u8>(2 + 2 * families.size())), load(offset_arg0)});
  for (const u32 family : families) add({jump(BPF_JMP | BPF_JEQ | BPF_K, family, 0, 1), give(SECCOMP_RET_ALLOW)});
  add({give(refuse(EPERM))});
  // FIFOs, sockets and whiteouts (device 0:0) are harmless nodes of a shared folder; devices are not.
  add({jump(BPF_JMP | BPF_JEQ | BPF_K, SYS_mknodat, 0, 9), load(offset_arg2), statement(BPF_ALU | BPF_AND | BPF_K, S_IFMT),
       jump(BPF_JMP | BPF_JEQ | BPF_K, S_IFIFO, 4, 0), jump(BPF_JMP | BPF_JEQ | BPF_K, S_IFSOCK, 3, 0),
       jump(BPF_JMP | BPF_JEQ | BPF_K, S_IFCHR, 0, 3), load(offset_arg3), jump(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
       give(SECCOMP_RET_ALLOW), give(refuse(EPERM))});
  add({give(SECCOMP_RET_ALLOW)});
  return out;
}

}  // namespace

Result<> enter_jail(const JailOptions& options) {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno("cannot give up privileges");
  std::vector<sock_filter> code = program(options);
  const sock_fprog filter{static_cast<unsigned short>(code.size()), code.data()};
  const long done = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter);
  if (done > 0) return fail("cannot enter the jail", "a thread is in another one");
  if (done < 0) return fail_errno("cannot enter the jail");
  return {};
}

}  // namespace nagaya::host
