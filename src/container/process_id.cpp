#include "container/process_id.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>

namespace nagaya::container {
namespace {

struct Stat {
  char state = 'X';
  u64 start = 0;
};

std::optional<Stat> read_stat(pid_t pid) {
  const int fd = ::open(("/proc/" + std::to_string(pid) + "/stat").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  char buffer[1024];
  const ssize_t count = ::read(fd, buffer, sizeof buffer);
  ::close(fd);
  if (count <= 0) return std::nullopt;
  std::string_view text(buffer, static_cast<std::size_t>(count));
  // The name is in parentheses and may have any characters in it, so fields are counted from the last one.
  const std::size_t name_end = text.rfind(')');
  if (name_end == text.npos || name_end + 2 >= text.size()) return std::nullopt;
  Stat stat{text[name_end + 2]};
  std::size_t at = name_end + 2;
  for (int field = 3; field < 22; ++field) {
    at = text.find(' ', at);
    if (at == text.npos) return std::nullopt;
    ++at;
  }
  std::from_chars(text.data() + at, text.data() + text.size(), stat.start);
  return stat;
}

}  // namespace

std::optional<ProcessId> identify(pid_t pid) {
  if (pid <= 0) return std::nullopt;
  const auto stat = read_stat(pid);
  if (!stat) return std::nullopt;
  return ProcessId{pid, stat->start};
}

bool alive(const ProcessId& process) {
  if (process.pid <= 0) return false;
  const auto stat = read_stat(process.pid);
  return stat && stat->start == process.start && stat->state != 'Z' && stat->state != 'X';
}

Result<host::Fd> open_process(const ProcessId& process) {
  if (process.pid <= 0) return fail_errno("no process", ESRCH);
  host::Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  if (!fd) return fail_errno("cannot open process " + std::to_string(process.pid));
  // The descriptor holds the number; only now is it known whose it is.
  if (!alive(process)) return fail_errno("process " + std::to_string(process.pid), ESRCH);
  return fd;
}

bool wait_for_end(int pidfd, int milliseconds) {
  pollfd item{pidfd, POLLIN, 0};
  int count = 0;
  do {
    count = ::poll(&item, 1, milliseconds);
  } while (count < 0 && errno == EINTR);
  return count > 0;
}

}  // namespace nagaya::container
