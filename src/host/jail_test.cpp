#include "host/jail.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>

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

TEST(Jail, WhatAMachineNeedsGoesOn) {
  EXPECT_EQ(in_child([] {
              if (!enter_jail()) return 1;
              std::atomic<int> ran = 0;
              std::thread([&] { ran = 1; }).join();
              if (ran != 1) return 2;
              if (::open("/dev/null", O_RDWR) < 0) return 3;
              void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
              if (page == MAP_FAILED) return 4;
              if (::socket(AF_UNIX, SOCK_STREAM, 0) < 0) return 5;
              return 0;
            }),
            0);
}

TEST(Jail, WhatAnIntruderWantsDoesNot) {
  EXPECT_EQ(in_child([] {
              if (!enter_jail()) return 1;
              char program[] = "/bin/true";
              char* args[] = {program, nullptr};
              ::execv(program, args);
              if (errno != EPERM) return 2;
              if (::fork() >= 0 || errno != EPERM) return 3;
              if (::socket(AF_INET, SOCK_STREAM, 0) >= 0 || errno != EPERM) return 4;
              if (::setuid(0) == 0 || errno != EPERM) return 5;
              if (::chroot("/") == 0 || errno != EPERM) return 6;
              // Rings that are there may be used; new ones, or new powers for old ones, are not to be had.
              if (::syscall(SYS_io_uring_setup, 1, nullptr) >= 0 || errno != EPERM) return 7;
              if (::syscall(SYS_io_uring_register, -1, 0, nullptr, 0) >= 0 || errno != EPERM) return 8;
              if (::syscall(SYS_io_uring_enter, -1, 0, 0, 0, nullptr, 0) >= 0 || errno == EPERM) return 9;
              return 0;
            }),
            0);
}

TEST(Jail, NodesThatAreNoDevicesCanBeMade) {
  char name[] = "/tmp/nagaya-jail-XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  const std::string dir = name;
  EXPECT_EQ(in_child([&] {
              if (!enter_jail()) return 1;
              if (::mknodat(AT_FDCWD, (dir + "/fifo").c_str(), S_IFIFO | 0600, 0) != 0) return 2;
              if (::mknodat(AT_FDCWD, (dir + "/socket").c_str(), S_IFSOCK | 0600, 0) != 0) return 3;
              (void)::mknodat(AT_FDCWD, (dir + "/whiteout").c_str(), S_IFCHR | 0600, 0);
              if (::mknodat(AT_FDCWD, (dir + "/null").c_str(), S_IFCHR | 0600, makedev(1, 3)) == 0 || errno != EPERM) return 5;
              if (::mknodat(AT_FDCWD, (dir + "/disk").c_str(), S_IFBLK | 0600, 0) == 0 || errno != EPERM) return 6;
              return 0;
            }),
            0);
  std::filesystem::remove_all(dir);
}

TEST(Jail, ANetworkProcessHasSocketsAndReadsFilesOnly) {
  EXPECT_EQ(in_child([] {
              if (!enter_jail({.network = true, .threads = false, .write_files = false})) return 1;
              if (::socket(AF_INET, SOCK_STREAM, 0) < 0 || ::socket(AF_INET6, SOCK_DGRAM, 0) < 0 || ::socket(AF_UNIX, SOCK_STREAM, 0) < 0) return 2;
              if (::socket(AF_PACKET, SOCK_RAW, 0) >= 0 || errno != EPERM) return 3;
              if (::open("/dev/null", O_RDONLY) < 0) return 4;
              if (::open("/dev/null", O_WRONLY) >= 0 || errno != EPERM) return 5;
              if (::unlink("/proc/nowhere/at/all") == 0 || errno != EPERM) return 6;
              if (::fork() >= 0 || errno != EPERM) return 7;
              return 0;
            }),
            0);
}

TEST(Jail, HoldsForThreadsThatWereThereBefore) {
  EXPECT_EQ(in_child([] {
              std::atomic<bool> closed = false;
              std::atomic<int> result = 0;
              std::thread early([&] {
                while (!closed) std::this_thread::yield();
                result = ::socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM ? 7 : 1;
              });
              if (!enter_jail()) return 1;
              closed = true;
              early.join();
              return result.load();
            }),
            7);
}

}  // namespace
}  // namespace nagaya::host
