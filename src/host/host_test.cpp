#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>

#include "host/dirs.hpp"
#include "host/event_loop.hpp"
#include "host/fd.hpp"
#include "host/process.hpp"
#include "host/signal.hpp"
#include "host/terminal.hpp"
#include "host/thread.hpp"
#include "host/timer_queue.hpp"

namespace nagaya::host {
namespace {

std::string scratch(const char* name) { return testing::TempDir() + "nagaya-" + std::to_string(::getpid()) + name; }

TEST(Fd, OwnsAndMoves) {
  Fd first = Fd::eventfd().value();
  const int number = first.get();
  Fd second = std::move(first);
  EXPECT_EQ(second.get(), number);
  EXPECT_FALSE(first);  // NOLINT: the moved-from state is what is tested
  signal_eventfd(number);
  signal_eventfd(number);
  EXPECT_EQ(drain_eventfd(number), 2u);
  EXPECT_EQ(drain_eventfd(number), 0u);
  second.reset();
  EXPECT_EQ(::fcntl(number, F_GETFD), -1);
}

TEST(Fd, FilesAreReplacedWholeAndReadWithALimit) {
  const std::string path = scratch("file");
  const std::vector<u8> content(3'000'000, 0x41);
  ASSERT_TRUE(replace_file(path, content));
  EXPECT_EQ(read_file(path, 3'000'000).value(), content);
  auto refused = read_file(path, 2'999'999);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find(path), std::string::npos);
  ::unlink(path.c_str());
  EXPECT_FALSE(read_file(path, 100));
  EXPECT_FALSE(read_file("/", 100));
  EXPECT_FALSE(read_file("/dev/zero", 100'000));
}

TEST(Fd, AStaleSocketIsReplacedALiveOneIsNot) {
  const std::string path = scratch("socket");
  {
    auto live = Fd::listen_unix(path);
    ASSERT_TRUE(live) << live.error().message();
    EXPECT_FALSE(Fd::listen_unix(path));
    EXPECT_TRUE(Fd::connect_unix(path));
  }
  EXPECT_TRUE(Fd::listen_unix(path));
  ::unlink(path.c_str());
  EXPECT_FALSE(Fd::listen_unix(std::string(200, 'x')));
  ASSERT_TRUE(replace_file(path, {}));
  EXPECT_FALSE(Fd::listen_unix(path));
  EXPECT_EQ(::access(path.c_str(), F_OK), 0);
  ::unlink(path.c_str());
}

TEST(EventLoop, CallsBackUntilRemoved) {
  auto loop = EventLoop::create().value();
  auto [read_end, write_end] = Fd::pipe().value();
  int calls = 0;
  ASSERT_TRUE(loop->add(read_end.get(), EPOLLIN, [&, fd = read_end.get()](u32) {
    u8 byte;
    (void)!::read(fd, &byte, 1);
    if (++calls == 3) loop->stop();
  }));
  EXPECT_FALSE(loop->add(read_end.get(), EPOLLIN, [](u32) {}));
  ASSERT_TRUE(write_all(write_end.get(), "abcd"));
  loop->run();
  EXPECT_EQ(calls, 3);
  ASSERT_TRUE(loop->modify(read_end.get(), 0));
  loop->run_once(0);
  EXPECT_EQ(calls, 3);
  loop->remove(read_end.get());
  bool ran = false;
  loop->post([&] { ran = true; });
  loop->run_once(-1);
  EXPECT_TRUE(ran);
}

TEST(EventLoop, ACallbackMayRemoveItself) {
  auto loop = EventLoop::create().value();
  Fd event = Fd::eventfd().value();
  int calls = 0;
  ASSERT_TRUE(loop->add(event.get(), EPOLLIN, [&](u32) {
    ++calls;
    loop->remove(event.get());
  }));
  signal_eventfd(event.get());
  loop->run_once(-1);
  loop->run_once(0);
  EXPECT_EQ(calls, 1);
}

TEST(TimerQueue, RunsInOrderOfDeadline) {
  TimerQueue queue;
  std::mutex mutex;
  std::condition_variable changed;
  std::string order;
  const auto note = [&](char c) {
    const std::lock_guard lock(mutex);
    order += c;
    changed.notify_all();
  };
  TimerQueue::Timer late(queue, [&] { note('l'); }), early(queue, [&] { note('e'); }), never(queue, [&] { note('n'); });
  const u64 now = monotonic_ns();
  late.arm(now + 20'000'000);
  never.arm(now + 10'000'000);
  never.cancel();
  early.arm(0);
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return order.size() == 2; });
  EXPECT_EQ(order, "el");
}

TEST(TimerQueue, DestructionOutlivesTheCallback) {
  TimerQueue queue;
  std::atomic<bool> inside = false, done = false;
  {
    TimerQueue::Timer timer(queue, [&] {
      inside = true;
      ::usleep(20'000);
      done = true;
    });
    timer.arm(0);
    while (!inside) ::usleep(100);
  }
  EXPECT_TRUE(done);
}

TEST(Process, BlockedSignalsWaitForTheChild) {
  auto child = Process::spawn({.program = "sh", .args = {"-c", "kill -USR1 $$; exit 5"}, .blocked = {SIGUSR1}});
  ASSERT_TRUE(child) << child.error().message();
  const auto status = child->wait();
  ASSERT_TRUE(status);
  EXPECT_FALSE(status->signalled);
  EXPECT_EQ(status->value, 5);
}

TEST(Process, TellsHowAChildEnded) {
  auto exits = Process::spawn({.program = "sh", .args = {"-c", "exit 7"}}).value();
  EXPECT_EQ(exits.wait().value().shell_status(), 7);
  auto killed = Process::spawn({.program = "sleep", .args = {"100"}}).value();
  killed.send(SIGKILL);
  EXPECT_EQ(killed.wait().value().shell_status(), 137);
  EXPECT_FALSE(Process::spawn({.program = "/nonexistent/program"}));
}

TEST(Process, GivesDescriptorsTheirNumbers) {
  auto [read_a, write_a] = Fd::pipe().value();
  auto [read_b, write_b] = Fd::pipe().value();
  // The numbers wanted are each other's: a naive dup2 sequence would lose one.
  const std::string script = "echo A >&" + std::to_string(write_b.get()) + "; echo B >&" + std::to_string(write_a.get());
  auto child = Process::spawn({.program = "bash",
                               .args = {"-c", script},
                               .fds = {{write_a.get(), write_b.get()}, {write_b.get(), write_a.get()}}})
                   .value();
  EXPECT_EQ(child.wait().value().value, 0);
  u8 byte = 0;
  ASSERT_EQ(::read(read_a.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 'A');
  ASSERT_EQ(::read(read_b.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 'B');
}

TEST(Terminal, IsRestoredEvenByADyingProcess) {
  const int master = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (master < 0) GTEST_SKIP() << "no pseudo-terminals here";
  const Fd owner(master);
  ASSERT_EQ(::grantpt(master), 0);
  ASSERT_EQ(::unlockpt(master), 0);
  const Fd terminal = Fd::open(::ptsname(master), O_RDWR | O_NOCTTY).value();
  termios before{}, during{}, after{};
  ASSERT_EQ(tcgetattr(terminal.get(), &before), 0);
  {
    auto raw = RawTerminal::enter(terminal.get());
    ASSERT_TRUE(raw);
    EXPECT_FALSE(RawTerminal::enter(terminal.get()));
    tcgetattr(terminal.get(), &during);
    EXPECT_EQ(during.c_lflag & (ICANON | ECHO | ISIG), 0u);
  }
  tcgetattr(terminal.get(), &after);
  EXPECT_EQ(after.c_lflag, before.c_lflag);
#ifdef NAGAYA_SANITIZED
  constexpr int fault = SIGTERM;  // a sanitizer's own handler ends the process before ours is heard
#else
  constexpr int fault = SIGSEGV;
#endif
  for (const int how : {fault, SIGTERM, 0}) {
    const pid_t child = ::fork();
    if (child == 0) {
      auto raw = RawTerminal::enter(terminal.get());
      if (how == 0) std::exit(0);
      ::raise(how);
      ::_exit(1);
    }
    Process process;
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    if (how != 0) {
      EXPECT_TRUE(WIFSIGNALED(status));
    }
    tcgetattr(terminal.get(), &after);
    EXPECT_EQ(after.c_lflag, before.c_lflag) << how;
  }
  EXPECT_FALSE(RawTerminal::enter(owner.get() + 1000));
}

TEST(SignalFd, SignalsArriveAsReads) {
  const pid_t child = ::fork();  // the mask of the test process stays as it is
  if (child == 0) {
    auto signals = SignalFd::create({SIGUSR1, SIGTERM});
    if (!signals) ::_exit(1);
    ::raise(SIGUSR1);
    ::_exit(signals->next() == SIGUSR1 && signals->next() == 0 ? 0 : 2);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(Dirs, OwnVariablesNameAbsolutePaths) {
  for (const char* name : {"NAGAYA_STATE_DIR", "NAGAYA_RUNTIME_DIR", "NAGAYA_CACHE_DIR"}) {
    const char* before = std::getenv(name);
    const std::string kept = before != nullptr ? before : "";
    ::setenv(name, "build/state", 1);
    const auto refused = check_dirs();
    EXPECT_FALSE(refused);
    if (!refused) EXPECT_NE(refused.error().message().find("build/state"), std::string::npos);
    ::setenv(name, "/build/state", 1);
    EXPECT_TRUE(check_dirs());
    ::setenv(name, "", 1);
    EXPECT_TRUE(check_dirs());
    before != nullptr ? ::setenv(name, kept.c_str(), 1) : ::unsetenv(name);
  }
}

}  // namespace
}  // namespace nagaya::host
