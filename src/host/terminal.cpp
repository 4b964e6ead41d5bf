#include "host/terminal.hpp"

#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <utility>

namespace nagaya::host {
namespace {

// What handlers and atexit need, in static storage: they may run at any moment.
std::atomic<int> raw_fd = -1;
termios cooked_mode;
termios raw_mode;

constexpr std::array fatal_signals = {SIGHUP, SIGINT,  SIGQUIT, SIGTERM, SIGABRT, SIGSEGV,
                                      SIGBUS, SIGILL,  SIGFPE,  SIGSYS,  SIGXCPU};
struct sigaction earlier[NSIG];

/// tcsetattr from a background process group raises SIGTTOU, which would stop us half-way.
void set_mode(int fd, const termios& mode) {
  sigset_t ttou, before;
  sigemptyset(&ttou);
  sigaddset(&ttou, SIGTTOU);
  pthread_sigmask(SIG_BLOCK, &ttou, &before);
  (void)tcsetattr(fd, TCSADRAIN, &mode);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void restore_now() {
  const int fd = raw_fd.load();
  if (fd >= 0) {
    sigset_t ttou, before;
    sigemptyset(&ttou);
    sigaddset(&ttou, SIGTTOU);
    pthread_sigmask(SIG_BLOCK, &ttou, &before);
    (void)tcsetattr(fd, TCSANOW, &cooked_mode);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
}

/// Restores the terminal, then lets whoever handled the signal before us go on; with the default action, dies of it.
void on_fatal_signal(int signal, siginfo_t* info, void* context) {
  const struct sigaction& before = earlier[signal];
  const bool custom = (before.sa_flags & SA_SIGINFO) != 0 || (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN);
  if (custom) {
    // It may well deal with the signal (an engine's own faults); if it ends the process instead, atexit or we again
    // see to the terminal.
    if ((before.sa_flags & SA_SIGINFO) != 0) {
      before.sa_sigaction(signal, info, context);
    } else {
      before.sa_handler(signal);
    }
    return;
  }
  restore_now();
  ::signal(signal, SIG_DFL);
  ::raise(signal);  // delivered when this handler returns
}

void install_once() {
  static const bool done = [] {
    std::atexit(restore_now);
    for (const int signal : fatal_signals) {
      struct sigaction action {};
      ::sigaction(signal, nullptr, &earlier[signal]);
      if ((earlier[signal].sa_flags & SA_SIGINFO) == 0 && earlier[signal].sa_handler == SIG_IGN) continue;  // nohup
      action.sa_sigaction = on_fatal_signal;
      action.sa_flags = SA_SIGINFO | SA_ONSTACK | (earlier[signal].sa_flags & SA_NODEFER);
      action.sa_mask = earlier[signal].sa_mask;
      ::sigaction(signal, &action, nullptr);
    }
    return true;
  }();
  (void)done;
}

}  // namespace

Result<RawTerminal> RawTerminal::enter(int fd) {
  if (raw_fd.load() >= 0) return fail("cannot make the terminal raw", "it is already");
  if (tcgetattr(fd, &cooked_mode) != 0) return fail_errno("cannot make the terminal raw");
  raw_mode = cooked_mode;
  cfmakeraw(&raw_mode);
  raw_mode.c_oflag |= OPOST;  // messages of ours keep their line ends; "\r\n" of guests is not harmed by it
  install_once();
  raw_fd.store(fd);
  set_mode(fd, raw_mode);
  return RawTerminal(fd);
}

RawTerminal::RawTerminal(RawTerminal&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

RawTerminal::~RawTerminal() {
  if (fd_ < 0) return;
  restore();
  raw_fd.store(-1);
}

void RawTerminal::restore() {
  if (fd_ >= 0) set_mode(fd_, cooked_mode);
}

void RawTerminal::enter_again() {
  if (fd_ >= 0) set_mode(fd_, raw_mode);
}

bool is_terminal(int fd) { return ::isatty(fd) == 1; }

TerminalSize terminal_size(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {};
  return {size.ws_col, size.ws_row};
}

}  // namespace nagaya::host
