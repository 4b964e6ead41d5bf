#include "host/terminal_mode.hpp"

#include <pthread.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>

namespace nagaya::host {

TerminalMode::TerminalMode(int fd) : fd_(fd) {
  auto mode = std::make_unique<termios>();
  if (::tcgetattr(fd, mode.get()) == 0) mode_ = std::move(mode);
}

TerminalMode::~TerminalMode() { restore(); }

void TerminalMode::restore() const {
  if (mode_ == nullptr) return;
  // From a background process group tcsetattr raises SIGTTOU, which would stop us.
  sigset_t ttou, before;
  sigemptyset(&ttou);
  sigaddset(&ttou, SIGTTOU);
  pthread_sigmask(SIG_BLOCK, &ttou, &before);
  (void)::tcsetattr(fd_, TCSANOW, mode_.get());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace nagaya::host
