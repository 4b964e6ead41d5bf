#include "container/process_id.hpp"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "host/process_stat.hpp"

namespace nagaya::container {

std::optional<ProcessId> identify(pid_t pid) {
  if (pid <= 0) return std::nullopt;
  const auto stat = host::read_process_stat(pid);
  if (!stat) return std::nullopt;
  return ProcessId{pid, stat->start_ticks};
}

bool alive(const ProcessId& process) {
  if (process.pid <= 0) return false;
  const auto stat = host::read_process_stat(process.pid);
  return stat && stat->start_ticks == process.start && stat->state != 'Z' && stat->state != 'X';
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
