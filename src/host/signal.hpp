// Process signals as descriptors, and handlers that can be put back.
#pragma once
#include <csignal>
#include <initializer_list>

#include "base/result.hpp"
#include "host/fd.hpp"

namespace nagaya::host {

/// Signals delivered as reads from a descriptor. Create it on the main thread before other threads start: the signals
/// are blocked in the caller and in every thread started later.
class SignalFd {
 public:
  static Result<SignalFd> create(std::initializer_list<int> signals);
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// The next signal's number, or 0 when none waits.
  [[nodiscard]] int next() const;

 private:
  Fd fd_;
};

/// Writes to a closed pipe give EPIPE and no signal.
void ignore_sigpipe();

/// Installs a handler for a signal; the destructor restores the earlier one.
class SignalHandler {
 public:
  SignalHandler(int signal, void (*handler)(int, siginfo_t*, void*), int flags = 0);
  ~SignalHandler();
  SignalHandler(const SignalHandler&) = delete;
  SignalHandler& operator=(const SignalHandler&) = delete;
  [[nodiscard]] const struct sigaction& previous() const { return previous_; }

 private:
  int signal_;
  struct sigaction previous_ {};
};

}  // namespace nagaya::host
