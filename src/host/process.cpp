#include "host/process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>

namespace nagaya::host {
namespace {

/// In the child between fork and exec: only async-signal-safe calls but those of options.in_child. Tells errno through `report` when exec fails.
[[noreturn]] void become(const SpawnOptions& options, std::vector<char*>& argv, std::vector<ChildFd> fds, int report,
                         pid_t parent) {
  const auto give_up = [&] {
    const int code = errno;
    (void)!::write(report, &code, sizeof code);
    ::_exit(127);
  };
  if (options.die_with_parent) {
    if (::prctl(PR_SET_PDEATHSIG, options.death_signal) != 0) give_up();
    if (::getppid() != parent) ::_exit(127);  // the parent died before the call above
  }
  if (options.new_session && ::setsid() < 0) give_up();
  if (options.in_child) {
    if (auto done = options.in_child(); !done) {
      errno = done.error().code != 0 ? done.error().code : ECANCELED;
      give_up();
    }
  }
  // First move everything out of the way of the target numbers, then into place.
  int lowest = 3;
  for (const ChildFd& fd : fds) lowest = std::max(lowest, fd.theirs + 1);
  for (ChildFd& fd : fds) {
    fd.ours = ::fcntl(fd.ours, F_DUPFD_CLOEXEC, lowest);
    if (fd.ours < 0) give_up();
  }
  const int moved = ::fcntl(report, F_DUPFD_CLOEXEC, lowest);
  if (moved < 0) give_up();
  report = moved;
  for (const ChildFd& fd : fds) {
    if (::dup2(fd.ours, fd.theirs) < 0) give_up();
  }
  sigset_t mask;
  sigemptyset(&mask);
  for (const int signal : options.blocked) sigaddset(&mask, signal);
  ::sigprocmask(SIG_SETMASK, &mask, nullptr);
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  ::sigaction(SIGPIPE, &standard, nullptr);
  ::execvp(options.program.c_str(), argv.data());
  give_up();
  ::_exit(127);
}

}  // namespace

Result<Process> Process::spawn(const SpawnOptions& options) {
  TRY_ASSIGN(auto report, Fd::pipe());
  std::vector<char*> argv;
  argv.push_back(const_cast<char*>(options.program.c_str()));
  for (const std::string& arg : options.args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  std::vector<ChildFd> fds = options.fds;
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno(fmt::format("cannot start '{}'", options.program));
  if (pid == 0) become(options, argv, std::move(fds), report.second.get(), parent);

  Process process;
  process.pid_ = pid;
  report.second.reset();
  int code = 0;
  TRY_ASSIGN(const std::size_t got, read_up_to(report.first.get(), std::span(reinterpret_cast<u8*>(&code), sizeof code)));
  if (got == sizeof code) {
    (void)process.wait();
    return fail_errno(fmt::format("cannot start '{}'", options.program), code);
  }
  process.pidfd_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process.pidfd_) return fail_errno("cannot watch a child process");
  return process;
}

Process::Process(Process&& other) noexcept : pid_(std::exchange(other.pid_, -1)), pidfd_(std::move(other.pidfd_)) {}

Process& Process::operator=(Process&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(pidfd_, other.pidfd_);
  return *this;
}

Process::~Process() {
  if (pid_ <= 0) return;
  send(SIGKILL);
  (void)wait();
}

void Process::send(int signal) const {
  if (pid_ > 0) ::kill(pid_, signal);
}

Result<ExitStatus> Process::wait() {
  if (pid_ <= 0) return fail("cannot wait for a process", "it has been waited for");
  int status = 0;
  pid_t got;
  do got = ::waitpid(pid_, &status, 0);
  while (got < 0 && errno == EINTR);
  if (got < 0) return fail_errno("cannot wait for a process");
  pid_ = -1;
  if (WIFSIGNALED(status)) return ExitStatus{true, WTERMSIG(status)};
  return ExitStatus{false, WEXITSTATUS(status)};
}

pid_t Process::release() { return std::exchange(pid_, -1); }

std::string own_program_path() {
  std::string path(PATH_MAX, '\0');
  const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
  path.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  return path;
}

}  // namespace nagaya::host
