#include "host/signal.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>

namespace nagaya::host {

Result<SignalFd> SignalFd::create(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  if (const int code = pthread_sigmask(SIG_BLOCK, &set, nullptr); code != 0) {
    return fail_errno("cannot block signals", code);
  }
  const int fd = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0) return fail_errno("cannot create a signalfd");
  SignalFd out;
  out.fd_ = Fd(fd);
  return out;
}

int SignalFd::next() const {
  signalfd_siginfo info{};
  ssize_t got;
  do got = ::read(fd_.get(), &info, sizeof info);
  while (got < 0 && errno == EINTR);
  return got == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
}

void ignore_sigpipe() {
  struct sigaction action {};
  action.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &action, nullptr);
}

SignalHandler::SignalHandler(int signal, void (*handler)(int, siginfo_t*, void*), int flags) : signal_(signal) {
  struct sigaction action {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | flags;
  sigemptyset(&action.sa_mask);
  ::sigaction(signal_, &action, &previous_);
}

SignalHandler::~SignalHandler() { ::sigaction(signal_, &previous_, nullptr); }

}  // namespace nagaya::host
