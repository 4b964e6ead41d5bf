#include "vmm/jail.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "host/apart.hpp"
#include "host/new_file.hpp"
#include "host/thread.hpp"

namespace nagaya::vmm {
namespace {

constexpr int cannot_here = 77;
/// A user that is not root, and owns nothing.
constexpr uid_t ordinary = 54321;

bool refused(long result) { return result < 0 && errno == EPERM; }
bool not_there(long result) { return result < 0 && errno == ENOENT; }

/// Who asks: root or an ordinary user.
class JailTest : public ::testing::TestWithParam<bool> {
 protected:
  JailTest() {
    char name[] = "/tmp/nagaya-jail-XXXXXX";
    EXPECT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    for (const char* one : {"/share", "/share/inside", "/sockets", "/state"}) std::filesystem::create_directory(folder_ + one);
    std::ofstream(folder_ + "/secret") << "secret";
    std::ofstream(folder_ + "/share/file") << "shared";
    std::filesystem::permissions(folder_, std::filesystem::perms::all);
    for (const char* one : {"/share", "/share/inside", "/sockets", "/state", "/share/file"}) {
      std::filesystem::permissions(folder_ + one, std::filesystem::perms::all);
    }
    config_.kernel = "k";
  }
  ~JailTest() override { std::filesystem::remove_all(folder_); }

  void with_all() {
    config_.shares.push_back({.tag = "t", .path = folder_ + "/share"});
    config_.vsock = proto::VsockConfig{.cid = 3, .path = folder_ + "/sockets/vsock"};
    config_.save_file = folder_ + "/state/saved";
  }

  /// Runs `body` in a jailed process; `open` before it closes. 0: all is well.
  template <class Open, class Body>
  int jailed(Open open, Body body) {
    const pid_t child = ::fork();
    if (child == 0) {
      if (GetParam() && (::setgroups(0, nullptr) != 0 || ::setresgid(ordinary, ordinary, ordinary) != 0 || ::setresuid(ordinary, ordinary, ordinary) != 0)) {
        ::_exit(cannot_here);
      }
      // As after the start of a program: without it the files of /proc/self stay root's (PR_SET_DUMPABLE, prctl(2)).
      ::prctl(PR_SET_DUMPABLE, 1);
      Jail jail = Jail::begin(config_, JailMode::on);
      if (const int code = open(); code != 0) ::_exit(code);
      jail.close(JailNeeds::of(config_));
      if (!jail.rootless()) ::_exit(cannot_here);
      ::_exit(body(jail));
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }
  template <class Body>
  int jailed(Body body) {
    return jailed([] { return 0; }, body);
  }

  proto::VmConfig config_;
  std::string folder_;
};

#define EXPECT_WELL(result)                                                               \
  do {                                                                                    \
    const int code = (result);                                                            \
    if (code == cannot_here) {                                                            \
      GTEST_SKIP() << "this host lets us make no namespaces, or not become another user"; \
    }                                                                                     \
    EXPECT_EQ(code, 0);                                                                   \
  } while (0)

TEST_P(JailTest, AnIntruderHasNothing) {
  const pid_t other = ::getpid();
  EXPECT_WELL(jailed([&](const Jail&) {
    if (!refused(::open("/etc/passwd", O_RDONLY))) return 1;
    if (!refused(::syscall(SYS_openat2, AT_FDCWD, "/", nullptr, 0))) return 2;
    if (!refused(::socket(AF_INET, SOCK_STREAM, 0)) || !refused(::socket(AF_UNIX, SOCK_STREAM, 0)) || !refused(::socket(AF_NETLINK, SOCK_RAW, 0))) return 3;
    if (!refused(::kill(other, 0)) || !refused(::kill(::getpid(), SIGKILL)) || !refused(::syscall(SYS_tgkill, other, other, 0))) return 4;
    if (!refused(::ptrace(PTRACE_ATTACH, other, nullptr, nullptr))) return 5;
    if (!refused(::syscall(SYS_process_vm_readv, other, nullptr, 0, nullptr, 0, 0)) || !refused(::syscall(SYS_pidfd_open, other, 0))) return 6;
    char program[] = "/bin/true";
    char* args[] = {program, nullptr};
    if (!refused(::execv(program, args)) || !refused(::fork()) || !refused(::syscall(SYS_vfork))) return 7;
    if (!refused(::mount("none", "/", "tmpfs", 0, nullptr)) || !refused(::unshare(CLONE_NEWUSER)) || !refused(::syscall(SYS_setns, 0, 0))) return 8;
    if (!refused(::chroot("/")) || !refused(::fchdir(0)) || !refused(::chdir("/"))) return 9;
    if (!refused(::syscall(SYS_getpgid, other)) || !refused(::sched_setaffinity(other, 0, nullptr))) return 10;
    if (!refused(::ioctl(STDIN_FILENO, TIOCSTI, "x"))) return 11;
    if (::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED) return 12;
    if (!refused(::syscall(SYS_io_uring_setup, 1, nullptr)) || !refused(::syscall(SYS_io_uring_enter, -1, 0, 0, 0, nullptr, 0))) return 13;
    if (!refused(::syscall(SYS_bpf, 0, nullptr, 0)) || !refused(::syscall(SYS_userfaultfd, 0)) || !refused(::syscall(SYS_memfd_create, "m", 0))) return 14;
    if (!refused(::setuid(0)) || !refused(::syscall(SYS_capset, nullptr, nullptr)) || !refused(::unlink("/x"))) return 15;
    return 0;
  }));
}

TEST_P(JailTest, WhatAMachineNeedsGoesOn) {
  EXPECT_WELL(jailed([](const Jail&) {
    std::atomic<int> ran = 0;
    host::start_thread("later", [&] { ran = 1; }).join();
    if (ran != 1) return 1;
    void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED || ::mprotect(page, 4096, PROT_READ) != 0) return 2;
    if (::syscall(SYS_tgkill, ::getpid(), ::syscall(SYS_gettid), 0) != 0) return 3;
    return 0;
  }));
}

TEST_P(JailTest, FilesOfAShareAreAllThereIs) {
  with_all();
  host::Fd share, proc;
  const auto open = [&] {
    auto root = host::open_folder_apart(folder_ + "/share"), own = host::open_folder_apart("/proc/self/fd");
    if (!root || !own) return 100;
    share = std::move(*root), proc = std::move(*own);
    return 0;
  };
  EXPECT_WELL(jailed(open, [&](const Jail&) {
    for (const char* path : {"/etc/passwd", "/proc/self/root", "/proc/self/exe", "/proc/1", "/proc/self/../1", "/dev/null", "/sys", "/tmp"}) {
      if (!not_there(::open(path, O_RDONLY | O_PATH))) return 1;
    }
    if (!not_there(::open((folder_ + "/secret").c_str(), O_RDONLY))) return 2;
    // The share's root is a root: its ".." is itself.
    struct stat here {}, above {};
    if (::fstat(share.get(), &here) != 0 || ::fstatat(share.get(), "..", &above, 0) != 0 || here.st_ino != above.st_ino) return 3;
    for (const char* path : {"../secret", "../../../../etc/passwd", "inside/../../secret"}) {
      if (!not_there(::openat(share.get(), path, O_RDONLY))) return 4;
    }
    for (const char* path : {"../root", "../status", "../exe", "../../self/root"}) {
      if (::openat(proc.get(), path, O_PATH) >= 0) return 5;
    }
    // Every folder that is open is one of the three.
    for (int fd = 3; fd < 100; ++fd) {
      struct stat info {};
      if (::fstat(fd, &info) != 0 || !S_ISDIR(info.st_mode)) continue;
      struct stat up {};
      if (::fstatat(fd, "..", &up, 0) != 0 || up.st_ino != info.st_ino) return 6;
    }
    if (::openat(share.get(), "file", O_RDWR) < 0 || ::openat(share.get(), "new", O_RDWR | O_CREAT, 0600) < 0) return 7;
    const int again = ::open(fmt::format("/proc/self/fd/{}", share.get()).c_str(), O_RDONLY | O_DIRECTORY);
    if (again < 0) return 8;
    // Devices cannot be made, whiteouts can.
    if (!refused(::mknodat(share.get(), "null", S_IFCHR | 0600, 0x103)) || !refused(::mknodat(share.get(), "disk", S_IFBLK | 0600, 0))) return 9;
    if (::mkdir("/new", 0700) == 0 || ::open("/new", O_CREAT | O_RDWR, 0600) >= 0) return 10;
    return 0;
  }));
}

TEST_P(JailTest, SocketsOfOneFolderAreAllThereIs) {
  with_all();
  const auto listen = [&](const std::string& path) {
    host::Fd out(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(out.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(out.get(), 4), 0);
    EXPECT_EQ(::chmod(path.c_str(), 0666), 0);
    return out;
  };
  const host::Fd good = listen(folder_ + "/sockets/vsock_5"), elsewhere = listen(folder_ + "/elsewhere");
  EXPECT_WELL(jailed([&](const Jail& jail) {
    if (!host::Fd::connect_unix(jail.vsock_path() + "_5")) return 1;
    const auto far = host::Fd::connect_unix(folder_ + "/elsewhere");
    if (far || far.error().code != ENOENT) return 2;
    if (!refused(::socket(AF_INET, SOCK_STREAM, 0)) || !refused(::socket(AF_VSOCK, SOCK_STREAM, 0)) || !refused(::socket(AF_PACKET, SOCK_RAW, 0))) return 3;
    if (!not_there(::open((jail.vsock_path() + "_5/../../elsewhere").c_str(), O_PATH)) && errno != ENOTDIR) return 4;
    if (::open("/vsock/new", O_CREAT | O_RDWR, 0600) >= 0 || errno != EROFS) return 5;
    return 0;
  }));
}

TEST_P(JailTest, AMachineIsSavedBesideItsFile) {
  with_all();
  EXPECT_WELL(jailed([&](const Jail& jail) {
    if (!jail.save_folder()) return 1;
    auto file = host::NewFile::create(jail.save_folder()->get(), "saved");
    if (!file || !host::write_all(file->fd(), "state") || !file->commit()) return 2;
    if (!not_there(::openat(jail.save_folder()->get(), "../secret", O_RDONLY))) return 3;
    return 0;
  }));
  EXPECT_EQ(std::filesystem::exists(folder_ + "/state/saved"), !IsSkipped());
}

TEST_P(JailTest, ThreadsThatWereThereAreInItToo) {
  with_all();
  std::atomic<bool> closed = false, ready = false;
  std::atomic<int> result = -1;
  std::jthread early;
  const auto open = [&] {
    early = host::start_thread("early", [&] {
      const auto rights = host::own_capabilities();
      ready = true;
      while (!closed) std::this_thread::yield();
      const bool weak = rights && (*rights & ~kept_capabilities(JailNeeds::of(config_))) == 0;
      result = !weak ? 1 : !not_there(::open("/etc/passwd", O_RDONLY)) ? 2 : !refused(::socket(AF_INET, SOCK_STREAM, 0)) ? 3 : 0;
    });
    while (!ready) std::this_thread::yield();
    return 0;
  };
  EXPECT_WELL(jailed(open, [&](const Jail&) {
    closed = true;
    early.join();
    return result.load();
  }));
}

TEST_P(JailTest, AReadOnlyShareIsOnlyRead) {
  config_.shares.push_back({.tag = "t", .path = folder_ + "/share", .read_only = true});
  host::Fd share;
  const auto open = [&] {
    auto root = host::open_folder_apart(folder_ + "/share");
    if (root) share = std::move(*root);
    return root ? 0 : 100;
  };
  EXPECT_WELL(jailed(open, [&](const Jail&) {
    if (::openat(share.get(), "file", O_RDONLY) < 0) return 1;
    for (const int flags : {O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC, O_RDONLY | O_CREAT}) {
      if (!refused(::openat(share.get(), "file", flags, 0600))) return 2;
    }
    if (!refused(::unlinkat(share.get(), "file", 0)) || !refused(::mkdirat(share.get(), "d", 0700))) return 3;
    return 0;
  }));
}

TEST(JailWithout, TheFilterAloneStopsFilesAndSockets) {
  // As on a host that lets us make no namespaces: the jail does not begin.
  const pid_t child = ::fork();
  if (child == 0) {
    if (!allowed_calls({}).enter(host::Unlisted::refuse)) ::_exit(1);
    if (!refused(::open("/etc/passwd", O_RDONLY)) || !refused(::socket(AF_UNIX, SOCK_STREAM, 0))) ::_exit(2);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(JailWithout, NamespacesAloneLeaveNoFileAndNoNetwork) {
  const pid_t child = ::fork();
  if (child == 0) {
    const host::Apart apart = host::leave_namespaces();
    if (!apart.mounts || !apart.network) ::_exit(cannot_here);
    if (!host::enter_empty_root({}, false)) ::_exit(1);
    if (!not_there(::open("/etc/passwd", O_RDONLY)) || !not_there(::open("/proc/self/root", O_PATH)) || !not_there(::open("/proc", O_PATH))) ::_exit(2);
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(9);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 || errno != ENETUNREACH) ::_exit(3);
    if (::mkdir("/new", 0700) == 0 || errno != EROFS) ::_exit(4);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_WELL(WIFEXITED(status) ? WEXITSTATUS(status) : 1000);
}

INSTANTIATE_TEST_SUITE_P(As, JailTest, ::testing::Values(false, true),
                         [](const auto& info) { return std::string(info.param ? "AnotherUser" : "OneSelf"); });

}  // namespace
}  // namespace nagaya::vmm
