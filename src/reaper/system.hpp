// The few system calls of the reaper, by number. Source: Linux arch/x86/entry/syscalls/syscall_64.tbl, asm-generic headers.
#pragma once

namespace nagaya::reaper {

constexpr long nr_write = 1, nr_rt_sigprocmask = 14, nr_ioctl = 16, nr_getpid = 39, nr_clone = 56, nr_execve = 59, nr_exit_group = 231,
               nr_wait4 = 61, nr_kill = 62, nr_setpgid = 109, nr_rt_sigtimedwait = 128;
constexpr long error_no_entry = 2, error_format = 8, error_access = 13, error_not_folder = 20;
constexpr long tiocspgrp = 0x5410, no_hang = 1, signal_child = 17;

using SignalSet = unsigned long;
constexpr SignalSet all_signals = ~0UL;

inline long call(long number, long a = 0, long b = 0, long c = 0, long d = 0) {
  long result;
  register long r10 asm("r10") = d;
  asm volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "r8", "r9", "memory");
  return result;
}

[[noreturn]] inline void leave(int status) {
  for (;;) (void)call(nr_exit_group, status);
}

/// Sets the mask of blocked signals; gives the one before.
inline SignalSet set_mask(SignalSet set) {
  constexpr long replace = 2;
  SignalSet before = 0;
  (void)call(nr_rt_sigprocmask, replace, reinterpret_cast<long>(&set), reinterpret_cast<long>(&before), sizeof set);
  return before;
}

inline long wait_for_signal(SignalSet set) { return call(nr_rt_sigtimedwait, reinterpret_cast<long>(&set), 0, 0, sizeof set); }

}  // namespace nagaya::reaper
