// A process whose address space holds nothing but pages of guest memory: user code of a guest runs in it as it is, on the host's MMU. It
// can make no system call of the host's: each one stops it before it happens (ptrace, PTRACE_SYSEMU), and a filter stands behind that.
// Sources: ptrace(2), seccomp(2), prctl(2) PR_SET_TSC.
#pragma once
#include <sys/user.h>

#include <atomic>
#include <memory>
#include <span>

#include "base/result.hpp"
#include "base/types.hpp"
#include "host/fd.hpp"
#include "host/mapping.hpp"

namespace nagaya::engine::soft::direct {

/// No program has memory from here on: the last page below the middle of the address space is the kernel's.
inline constexpr u64 user_end = (1ull << 47) - 4096;

/// A change of the address space.
struct MapCall {
  u64 number;  ///< SYS_mmap or SYS_munmap
  u64 args[6];

  static MapCall map(u64 at, u64 size, int protection, int fd, u64 offset, bool populate);
  static MapCall unmap(u64 at, u64 size);
};

/// Why the process stands still.
enum class Stop : u8 {
  syscall,      ///< before a system call; RIP is behind the instruction, RAX in orig_rax
  fault,        ///< a page fault at `address`
  trap,         ///< #DB of a single step
  breakpoint,   ///< INT3 or INT1; RIP is behind it
  vsyscall,     ///< the legacy page of system calls was called, by way of `address`; the return address is popped already
  other,        ///< an instruction that may not go on here: RIP is its own
  interrupted,  ///< by interrupt(), or by chance
  gone,         ///< the host has killed it
};
struct StopInfo {
  Stop stop = Stop::gone;
  u64 address = 0;
};

/// The requests to ptrace(2) that a process makes once it is there, for a filter of system calls to leave room; beside them it waits (wait4) and
/// signals through its descriptor (pidfd_send_signal).
[[nodiscard]] std::span<const u32> running_requests();

class Process {
 public:
  /// Starts one for the calling thread, which is the only one that may use it, apart from interrupt(). `files`: descriptors that map()
  /// may name; it keeps no others. Error: the host does not let us, with the reason.
  static Result<std::unique_ptr<Process>> create(std::span<const int> files);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  /// Calls in a row. Error: one failed, and those behind it were not made. Registers are lost.
  Result<> change(std::span<const MapCall> calls);
  /// Runs until something stops it.
  StopInfo resume();
  /// Registers. False: it is gone, or a value is not one a user program may have.
  [[nodiscard]] bool get(user_regs_struct& out) const;
  [[nodiscard]] bool set(const user_regs_struct& registers) const;
  /// The vector state as an XSAVE image in standard format, of as many bytes as vector_size().
  [[nodiscard]] bool get_vectors(std::span<u8> out) const;
  [[nodiscard]] bool set_vectors(std::span<const u8> image) const;
  [[nodiscard]] std::size_t vector_size() const { return vector_size_; }

  /// Processor time that it has used so far, in microseconds, as of the last stop.
  [[nodiscard]] u64 cpu_us() const { return cpu_us_; }
  /// Any thread: stops a resume() soon, or the next one.
  void interrupt() const;
  /// A page of the process's own, and the one behind it, that no guest may use.
  [[nodiscard]] u64 own_page() const { return own_page_; }

 private:
  Process() = default;
  Result<> change_some(std::span<const MapCall> calls);
  StopInfo wait();

  pid_t pid_ = 0;
  host::Fd process_;
  host::Mapping calls_;  ///< a page of MapCall, shared with the process, which only reads it
  u64 own_page_ = 0;
  std::size_t vector_size_ = 0;
  u64 cpu_us_ = 0;
  bool gone_ = false;
};

}  // namespace nagaya::engine::soft::direct
