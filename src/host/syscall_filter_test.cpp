#include "host/syscall_filter.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <string>
#include <thread>

#include "host/fd.hpp"

namespace nagaya::host {
namespace {

/// Runs `body` in a child of its own; its exit status.
template <class F>
int in_child(F body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/// What a child and its threads need to end, and the C library's heap, which a thread may touch at any time.
SyscallFilter least(bool heap = true) {
  SyscallFilter out;
  out.allow({SYS_exit_group, SYS_exit, SYS_write, SYS_sched_yield, SYS_set_robust_list, SYS_rseq, SYS_futex, SYS_mmap, SYS_munmap, SYS_brk, SYS_madvise, SYS_openat, SYS_read, SYS_close,
             SYS_rt_sigprocmask, SYS_rt_sigreturn});
  if (heap) out.allow({SYS_mprotect});
  return out;
}

bool refused(long result) { return result < 0 && errno == EPERM; }

TEST(SyscallFilter, WhatIsNotListedFails) {
  EXPECT_EQ(in_child([] {
              if (!least().enter(Unlisted::refuse)) return 1;
              return refused(::syscall(SYS_getppid)) ? 0 : 2;
            }),
            0);
}

TEST(SyscallFilter, ArgumentsDecide) {
  EXPECT_EQ(in_child([] {
              SyscallFilter filter = least(false);
              filter.allow_if(SYS_socket, 0, {AF_UNIX, AF_INET, AF_INET6})
                  .allow_if(SYS_mprotect, 2, {0}, PROT_EXEC)
                  .allow_if_both(SYS_fcntl, 0, 1, 1, F_GETFD)
                  .allow_if_both(SYS_fcntl, 0, 2, 1, F_GETFL)
                  .refuse(SYS_getppid, ENOSYS)
                  .allow({SYS_getpid});
              void* page = ::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
              if (!filter.enter(Unlisted::refuse)) return 1;
              for (const int family : {AF_UNIX, AF_INET, AF_INET6}) {
                if (::socket(family, SOCK_STREAM, 0) < 0) return 2;
              }
              for (const int family : {AF_NETLINK, AF_PACKET, AF_VSOCK, 0}) {
                if (!refused(::socket(family, SOCK_RAW, 0))) return 3;
              }
              if (::mprotect(page, 4096, PROT_READ | PROT_WRITE) != 0 || !refused(::mprotect(page, 4096, PROT_READ | PROT_EXEC))) return 4;
              if (::fcntl(1, F_GETFD) < 0 || ::fcntl(2, F_GETFL) < 0) return 5;
              if (!refused(::fcntl(1, F_GETFL)) || !refused(::fcntl(2, F_GETFD)) || !refused(::fcntl(0, F_GETFD))) return 6;
              if (::syscall(SYS_getppid) >= 0 || errno != ENOSYS) return 7;
              // Rules after ones with arguments are found.
              return ::syscall(SYS_getpid) > 0 ? 0 : 8;
            }),
            0);
}

TEST(SyscallFilter, LongListsOfValuesWork) {
  EXPECT_EQ(in_child([] {
              std::vector<u32> values;
              for (u32 i = 0; i < 100; ++i) values.push_back(1000 + i);
              SyscallFilter filter = least();
              filter.allow_if(SYS_ioctl, 1, values);
              if (!filter.enter(Unlisted::refuse)) return 1;
              for (u32 i = 0; i < 100; ++i) {
                if (refused(::syscall(SYS_ioctl, -1, 1000 + i, 0))) return 2;
              }
              return refused(::syscall(SYS_ioctl, -1, 999, 0)) && refused(::syscall(SYS_ioctl, -1, 1100, 0)) ? 0 : 3;
            }),
            0);
}

TEST(SyscallFilter, HoldsForThreadsThatWereThereBefore) {
  EXPECT_EQ(in_child([] {
              std::atomic<bool> closed = false;
              std::atomic<int> result = 0;
              std::thread early([&] {
                while (!closed) std::this_thread::yield();
                result = refused(::syscall(SYS_getppid)) ? 7 : 1;
              });
              if (!least().enter(Unlisted::refuse)) return 1;
              closed = true;
              early.join();
              return result.load();
            }),
            7);
}

TEST(SyscallFilter, TestsAreToldWhichCallItWas) {
  auto pipe = Fd::pipe().value();
  EXPECT_EQ(in_child([&] {
              ::dup2(pipe.second.get(), STDERR_FILENO);
              if (!least().enter(Unlisted::report)) return 1;
              return static_cast<int>(::getppid());
            }),
            128 + SIGSYS);
  pipe.second.reset();
  char text[200] = {};
  EXPECT_GT(::read(pipe.first.get(), text, sizeof text - 1), 0);
  EXPECT_EQ(std::string(text), "nagaya: system call  " + std::to_string(SYS_getppid) + " is not on the list of the jail\n");
}

}  // namespace
}  // namespace nagaya::host
