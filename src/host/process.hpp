// Child processes.
#pragma once
#include <sys/types.h>

#include <csignal>
#include <functional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "host/fd.hpp"

namespace nagaya::host {

/// How a child ended.
struct ExitStatus {
  bool signalled = false;
  int value = 0;  ///< exit status, or the signal's number
  /// As a shell tells it: the status, or 128 + signal.
  [[nodiscard]] int shell_status() const { return signalled ? 128 + value : value; }
};

/// A descriptor the child gets under a number of its own.
struct ChildFd {
  int ours = -1;
  int theirs = -1;
};

struct SpawnOptions {
  std::string program;            ///< path, or a name looked up in PATH
  std::vector<std::string> args;  ///< without the program's name
  std::vector<ChildFd> fds;       ///< beside 0, 1, 2, which are inherited unless named here
  std::vector<int> blocked;       ///< signals that wait until the child looks for them, however early they come
  bool die_with_parent = true;    ///< a signal when the parent's thread ends (PR_SET_PDEATHSIG):
  int death_signal = SIGKILL;     ///< this one
  /// Runs in the child before the program, while all is as in the parent; its error is the spawn's. The parent has one thread, or
  /// this allocates nothing.
  std::function<Result<>()> in_child{};
  bool new_session = false;       ///< setsid: terminal signals do not reach it
};

/// A running child; the destructor kills and reaps it unless `wait` or `release` came first.
class Process {
 public:
  static Result<Process> spawn(const SpawnOptions& options);
  Process() = default;
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  ~Process();
  [[nodiscard]] pid_t pid() const { return pid_; }
  /// Readable when the child has ended (pidfd).
  [[nodiscard]] int fd() const { return pidfd_.get(); }
  void send(int signal) const;
  Result<ExitStatus> wait();
  [[nodiscard]] pid_t release();

 private:
  pid_t pid_ = -1;
  Fd pidfd_;
};

/// The path of the running program's own file.
[[nodiscard]] std::string own_program_path();

}  // namespace nagaya::host
