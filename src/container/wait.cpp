#include "container/wait.hpp"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <optional>

#include "container/channel.hpp"
#include "host/terminal.hpp"

namespace nagaya::container {
namespace {

/// Signals to the command, as a descriptor; all but those that tell of the command's own faults.
Result<host::Fd> signals() {
  sigset_t set;
  sigfillset(&set);
  for (const int number :
       {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGTSTP, SIGTTIN, SIGTTOU, SIGPIPE, SIGURG})
    sigdelset(&set, number);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  host::Fd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return fail_errno("cannot wait for signals");
  return fd;
}

std::optional<int> ended(pid_t pid) {
  for (;;) {
    int status = 0;
    const pid_t found = ::waitpid(-1, &status, WNOHANG);  // as a subreaper there may be others
    if (found <= 0) return std::nullopt;
    if (found == pid) return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
}

void copy_size(int master) {
  winsize size{};
  if (::ioctl(0, TIOCGWINSZ, &size) == 0) ::ioctl(master, TIOCSWINSZ, &size);
}

/// Takes what waits; the child's status once it has ended.
std::optional<int> handle_signals(int fd, pid_t pid, int master) {
  signalfd_siginfo info{};
  std::optional<int> status;
  while (::read(fd, &info, sizeof info) == sizeof info) {
    const int number = static_cast<int>(info.ssi_signo);
    if (number == SIGCHLD) {
      if (const auto now = ended(pid)) status = now;
    } else if (number == SIGWINCH && master >= 0) {
      copy_size(master);
    } else {
      ::kill(pid, number);
    }
  }
  return status;
}

/// One read and its write; false at the end.
bool copy(int from, int to) {
  char buffer[8192];
  const ssize_t count = ::read(from, buffer, sizeof buffer);
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  return count > 0 && host::write_all(to, std::string_view(buffer, static_cast<std::size_t>(count))).has_value();
}

}  // namespace

Result<int> wait_for(pid_t pid) {
  TRY_ASSIGN(const host::Fd fd, signals());
  if (const auto status = ended(pid)) return *status;
  for (;;) {
    pollfd item{fd.get(), POLLIN, 0};
    if (::poll(&item, 1, -1) < 0 && errno != EINTR) return fail_errno("cannot wait");
    if (const auto status = handle_signals(fd.get(), pid, -1)) return *status;
  }
}

Result<int> wait_with_terminal(pid_t pid, const host::Fd& connection) {
  TRY_ASSIGN(const host::Fd master, receive_fd(connection.get()));
  TRY_ASSIGN(const host::Fd fd, signals());
  std::optional<host::RawTerminal> raw;
  if (host::is_terminal(0)) {
    copy_size(master.get());
    if (auto entered = host::RawTerminal::enter(0)) raw.emplace(std::move(*entered));
  }
  std::optional<int> status = ended(pid);
  bool input = true;
  for (;;) {
    pollfd items[] = {{master.get(), POLLIN, 0}, {fd.get(), POLLIN, 0}, {input ? 0 : -1, POLLIN, 0}};
    // After the end: what is left in the terminal, without waiting for others that may hold it.
    const int count = ::poll(items, 3, status ? 50 : -1);
    if (count < 0 && errno != EINTR) return fail_errno("cannot wait");
    if (items[1].revents != 0) {
      if (const auto now = handle_signals(fd.get(), pid, master.get())) status = now;
    }
    if ((items[2].revents & (POLLIN | POLLHUP)) != 0 && !copy(0, master.get())) {
      input = false;
      const char end = 4;  // end of transmission: our input has ended, so does the terminal's
      (void)::write(master.get(), &end, 1);
    }
    const bool output = (items[0].revents & (POLLIN | POLLHUP)) != 0;
    if (output && !copy(master.get(), 1)) {
      if (status) return *status;
      // Nobody has the terminal open now; its process may still run.
      while (!status) {
        pollfd item{fd.get(), POLLIN, 0};
        ::poll(&item, 1, -1);
        status = handle_signals(fd.get(), pid, master.get());
      }
      return *status;
    }
    if (status && !output) return *status;
  }
}

}  // namespace nagaya::container
