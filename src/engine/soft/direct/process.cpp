#include "engine/soft/direct/process.hpp"

#include <elf.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstddef>
#include <cstring>

namespace nagaya::engine::soft::direct {
namespace {

constexpr auto sysemu = static_cast<__ptrace_request>(31);  // PTRACE_SYSEMU; the C library's name for it differs
constexpr u64 page = 4096;
constexpr u32 requests[] = {PTRACE_CONT, sysemu, PTRACE_GETREGS, PTRACE_SETREGS, PTRACE_GETREGSET, PTRACE_SETREGSET, PTRACE_GETSIGINFO};
constexpr std::size_t most_calls = page / sizeof(MapCall);  // that are told at once
constexpr u64 rseq_signature = 0x53053053;

/// What runs at the process's own page: R14 calls from R15 on, then a breakpoint. R14 is zero when all went well, else RAX has the error.
constexpr u8 own_code[] = {
    0x49, 0x8b, 0x07,              // mov rax, [r15]
    0x49, 0x8b, 0x7f, 0x08,        // mov rdi, [r15 + 8]
    0x49, 0x8b, 0x77, 0x10,        // mov rsi, [r15 + 16]
    0x49, 0x8b, 0x57, 0x18,        // mov rdx, [r15 + 24]
    0x4d, 0x8b, 0x57, 0x20,        // mov r10, [r15 + 32]
    0x4d, 0x8b, 0x47, 0x28,        // mov r8, [r15 + 40]
    0x4d, 0x8b, 0x4f, 0x30,        // mov r9, [r15 + 48]
    0x0f, 0x05,                    // syscall
    0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff,  // cmp rax, -4095
    0x73, 0x09,                    // jae the breakpoint
    0x49, 0x83, 0xc7, 0x38,        // add r15, 56
    0x49, 0xff, 0xce,              // dec r14
    0x75, 0xd2,                    // jnz the first one
    0xcc,                          // int3
};
static_assert(sizeof(MapCall) == 56);

/// Code that waits, and what the new process needs to get there without a library.
struct Birth {
  u64 own_page;
  int calls_file;
  std::array<int, 16> keep;  ///< ascending
  unsigned keep_count;
  void* rseq_area;
  unsigned rseq_size;
  sock_fprog filter;
};

long raw(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  long out;
  asm volatile("syscall" : "=a"(out) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  return out;
}

[[noreturn]] void give_up(int step) {
  for (;;) raw(SYS_exit_group, step);
}

void need(bool done, int step) {
  if (!done) give_up(step);
}

/// The new process, until it stands at its own page with nothing else in its address space. A copy of a process with many threads: no
/// library may be called.
[[noreturn]] void begin(const Birth& birth) {
  raw(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
  const u64 no_signals = 0;
  raw(SYS_rt_sigprocmask, SIG_SETMASK, reinterpret_cast<long>(&no_signals), 0, 8);
  stack_t no_stack{};
  no_stack.ss_flags = SS_DISABLE;
  raw(SYS_sigaltstack, reinterpret_cast<long>(&no_stack));
  // What the kernel writes into user memory by itself must not be there any more.
  if (birth.rseq_area) raw(SYS_rseq, reinterpret_cast<long>(birth.rseq_area), birth.rseq_size, 1, rseq_signature);
  raw(SYS_set_tid_address, 0);
  raw(SYS_set_robust_list, 0, 24);
  need(raw(SYS_mmap, static_cast<long>(birth.own_page), page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
           static_cast<long>(birth.own_page), 1);
  auto* code = reinterpret_cast<volatile u8*>(birth.own_page);
  for (unsigned i = 0; i < sizeof own_code; ++i) code[i] = own_code[i];
  need(raw(SYS_mprotect, static_cast<long>(birth.own_page), page, PROT_READ | PROT_EXEC) == 0, 2);
  const u64 data = birth.own_page + page;
  need(raw(SYS_mmap, static_cast<long>(data), page, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, birth.calls_file, 0) == static_cast<long>(data), 3);
  int next = 0;
  for (unsigned i = 0; i < birth.keep_count; ++i) {
    if (birth.keep[i] > next) need(raw(SYS_close_range, next, birth.keep[i] - 1, 0) == 0, 4);
    next = birth.keep[i] + 1;
  }
  need(raw(SYS_close_range, next, INT_MAX, 0) == 0, 4);
  need(raw(SYS_ptrace, PTRACE_TRACEME) == 0, 5);
  need(raw(SYS_prctl, PR_SET_TSC, PR_TSC_SIGSEGV) == 0, 6);
  need(raw(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1) == 0, 7);
  need(raw(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, reinterpret_cast<long>(&birth.filter)) == 0, 8);
  asm volatile("movq %0, %%r15\n\tmovq $2, %%r14\n\tjmpq *%1" : : "r"(data), "r"(birth.own_page) : "r14", "r15", "memory");
  __builtin_unreachable();
}

const char* step_name(int step) {
  static constexpr const char* names[] = {"?", "its page", "its code", "its calls", "its descriptors", "ptrace", "PR_SET_TSC", "no_new_privs", "seccomp"};
  return step > 0 && step < static_cast<int>(std::size(names)) ? names[step] : names[0];
}

}  // namespace

std::span<const u32> running_requests() { return requests; }

MapCall MapCall::map(u64 at, u64 size, int protection, int fd, u64 offset, bool populate) {
  const u64 flags = MAP_SHARED | MAP_FIXED | (populate ? MAP_POPULATE : 0);
  return {SYS_mmap, {at, size, static_cast<u64>(protection), flags, static_cast<u64>(fd), offset}};
}

MapCall MapCall::unmap(u64 at, u64 size) { return {SYS_munmap, {at, size, 0, 0, 0, 0}}; }

Result<std::unique_ptr<Process>> Process::create(std::span<const int> files) {
  std::unique_ptr<Process> out(new Process);
  TRY_ASSIGN(const host::Fd calls_file, host::Fd::memfd("calls", page));
  TRY_ASSIGN(out->calls_, host::Mapping::shared(calls_file.get(), 0, page, PROT_READ | PROT_WRITE));
  // Where no program of a guest is likely to have anything: between its heap and its libraries.
  u32 chance = 0;
  if (::getrandom(&chance, sizeof chance, 0) != sizeof chance) return fail_errno("no random number");
  out->own_page_ = 0x2000'0000'0000 + static_cast<u64>(chance) * 2 * page;

  Birth birth{};
  birth.own_page = out->own_page_;
  birth.calls_file = calls_file.get();
  if (files.size() > birth.keep.size()) return fail("too many files of guest memory");
  std::ranges::copy(files, birth.keep.begin());
  birth.keep_count = static_cast<unsigned>(files.size());
  std::sort(birth.keep.begin(), birth.keep.begin() + birth.keep_count);
  if (__rseq_size != 0) {  // the C library has registered one
    birth.rseq_area = static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset;
    birth.rseq_size = std::max(__rseq_size, 32u);
  }
  // A system call stops the process before this filter sees it; but the kernel's emulated vsyscall page asks the filter only.
  std::array filter{
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 3),
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 2, 0),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_munmap, 1, 0),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  birth.filter = {static_cast<unsigned short>(filter.size()), filter.data()};
  const u64 behind = out->own_page_ + 2 * page;
  const MapCall empty[] = {MapCall::unmap(0, out->own_page_), MapCall::unmap(behind, user_end - behind)};
  std::memcpy(out->calls_.data(), empty, sizeof empty);

  const long pid = raw(SYS_clone, 0);  // no signal at its end: nobody is told but who waits
  if (pid == 0) begin(birth);
  if (pid < 0) return fail_errno("cannot start a process for direct execution", static_cast<int>(-pid));
  out->pid_ = static_cast<pid_t>(pid);
  out->process_ = host::Fd(static_cast<int>(::syscall(SYS_pidfd_open, out->pid_, 0)));
  int status = 0;
  while (::waitpid(out->pid_, &status, __WALL) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status)) {
    out->gone_ = true;
    return fail("the host does not allow a process for direct execution", step_name(WEXITSTATUS(status)));
  }
  user_regs_struct registers{};
  if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP || !out->process_ || !out->get(registers)) {
    return fail("a process for direct execution did not begin as it should");
  }
  if (registers.r14 != 0) return fail_errno("a process for direct execution cannot empty its address space", static_cast<int>(-registers.rax));
  if (::ptrace(PTRACE_SETOPTIONS, out->pid_, nullptr, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD) != 0)
    return fail_errno("cannot trace a process for direct execution");
  std::array<u8, 16384> image{};
  iovec whole{image.data(), image.size()};
  if (::ptrace(PTRACE_GETREGSET, out->pid_, NT_X86_XSTATE, &whole) != 0) return fail_errno("cannot read a process's vector state");
  out->vector_size_ = whole.iov_len;
  return out;
}

Process::~Process() {
  if (pid_ > 0 && !gone_) {
    if (process_) {
      ::syscall(SYS_pidfd_send_signal, process_.get(), SIGKILL, nullptr, 0);
    } else {
      ::kill(pid_, SIGKILL);
    }
    int status = 0;
    while (::waitpid(pid_, &status, __WALL) > 0 ? !WIFEXITED(status) && !WIFSIGNALED(status) : errno == EINTR) {
    }
  }
}

Result<> Process::change(std::span<const MapCall> calls) {
  for (; !calls.empty(); calls = calls.subspan(std::min<std::size_t>(calls.size(), most_calls)))
    TRY(change_some(calls.first(std::min<std::size_t>(calls.size(), most_calls))));
  return {};
}

Result<> Process::change_some(std::span<const MapCall> calls) {
  std::memcpy(calls_.data(), calls.data(), calls.size_bytes());
  user_regs_struct registers{};
  if (!get(registers)) return fail("direct execution's process is gone");
  registers.rip = own_page_;
  registers.r15 = own_page_ + page;
  registers.r14 = calls.size();
  registers.orig_rax = ~0ull;
  registers.eflags &= ~0x40100ull;  // neither TF nor AC
  if (!set(registers)) return fail("direct execution's process is gone");
  for (;;) {
    if (::ptrace(PTRACE_CONT, pid_, nullptr, nullptr) != 0) return fail_errno("direct execution's process is gone");
    const StopInfo info = wait();
    if (info.stop == Stop::interrupted) continue;  // whoever wanted something else sees that afterwards
    if (info.stop == Stop::breakpoint && get(registers)) break;
    return fail("direct execution's process does not do as it should");
  }
  if (registers.r14 == 0) return {};
  return fail_errno("cannot change direct execution's address space", static_cast<int>(-registers.rax));
}

StopInfo Process::resume() {
  if (::ptrace(sysemu, pid_, nullptr, nullptr) != 0) return {};
  return wait();
}

StopInfo Process::wait() {
  int status = 0;
  rusage used{};
  while (::wait4(pid_, &status, __WALL, &used) < 0) {
    if (errno != EINTR) return {};
  }
  const auto us = [](const timeval& t) { return static_cast<u64>(t.tv_sec) * 1'000'000 + static_cast<u64>(t.tv_usec); };
  cpu_us_ = us(used.ru_utime) + us(used.ru_stime);
  if (!WIFSTOPPED(status)) {
    gone_ = true;
    return {};
  }
  const int signal = WSTOPSIG(status);
  if (signal == (SIGTRAP | 0x80)) return {Stop::syscall, 0};
  siginfo_t info{};
  if (signal != SIGSEGV && signal != SIGTRAP && signal != SIGBUS && signal != SIGILL && signal != SIGFPE && signal != SIGSYS) return {Stop::interrupted, 0};
  if (::ptrace(PTRACE_GETSIGINFO, pid_, nullptr, &info) != 0) return {Stop::other, 0};
  if (signal == SIGSYS) {
    const u64 index = info.si_syscall == SYS_time ? 1 : info.si_syscall == SYS_getcpu ? 2 : 0;
    return {Stop::vsyscall, 0xffff'ffff'ff60'0000 + index * 0x400};
  }
  if (signal == SIGTRAP) return {info.si_code == TRAP_TRACE ? Stop::trap : Stop::breakpoint, 0};
  // Of #GP and the like the kernel does not say where; and what SIGBUS says of file pages concerns no guest.
  if (signal == SIGSEGV && (info.si_code == SEGV_MAPERR || info.si_code == SEGV_ACCERR)) return {Stop::fault, reinterpret_cast<u64>(info.si_addr)};
  return {Stop::other, 0};
}

bool Process::get(user_regs_struct& out) const { return ::ptrace(PTRACE_GETREGS, pid_, nullptr, &out) == 0; }
bool Process::set(const user_regs_struct& registers) const { return ::ptrace(PTRACE_SETREGS, pid_, nullptr, &registers) == 0; }

bool Process::get_vectors(std::span<u8> out) const {
  iovec whole{out.data(), vector_size_};
  return out.size() >= vector_size_ && ::ptrace(PTRACE_GETREGSET, pid_, NT_X86_XSTATE, &whole) == 0 && whole.iov_len == vector_size_;
}

bool Process::set_vectors(std::span<const u8> image) const {
  iovec whole{const_cast<u8*>(image.data()), vector_size_};
  return image.size() >= vector_size_ && ::ptrace(PTRACE_SETREGSET, pid_, NT_X86_XSTATE, &whole) == 0;
}

void Process::interrupt() const { ::syscall(SYS_pidfd_send_signal, process_.get(), SIGUSR1, nullptr, 0); }

}  // namespace nagaya::engine::soft::direct
