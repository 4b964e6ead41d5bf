#include "container/console.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>

namespace nagaya::container {

Result<host::Fd> connect_console(const std::string& path) {
  auto socket = host::Fd::connect_unix(path);
  if (!socket) return std::unexpected(std::move(socket.error()).within("console socket"));
  return socket;
}

Result<Terminal> open_terminal(const Process& process) {
  Terminal terminal;
  terminal.master = host::Fd(::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal.master)
    return fail_errno("cannot open /dev/ptmx", 0, "a container with a terminal needs a devpts mount");
  // The image may have put something else there (CVE-2025-52565): only the multiplexer of a devpts will do.
  struct stat facts{};
  struct statfs system{};
  if (::fstat(terminal.master.get(), &facts) != 0 || !S_ISCHR(facts.st_mode) || facts.st_rdev != makedev(5, 2) ||
      ::fstatfs(terminal.master.get(), &system) != 0 || system.f_type != DEVPTS_SUPER_MAGIC) {
    return fail("the container's /dev/ptmx is no terminal multiplexer");
  }
  int unlock = 0;
  unsigned number = 0;
  if (::ioctl(terminal.master.get(), TIOCSPTLCK, &unlock) != 0 ||
      ::ioctl(terminal.master.get(), TIOCGPTN, &number) != 0) {
    return fail_errno("cannot unlock the terminal");
  }
  terminal.name = "/dev/pts/" + std::to_string(number);
  // By the master and not by its name, which somebody inside could have replaced.
  terminal.slave = host::Fd(::ioctl(terminal.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal.slave) return fail_errno("cannot open the terminal's other end");
  if (process.console_size) {
    const winsize size{process.console_size->height, process.console_size->width, 0, 0};
    if (::ioctl(terminal.master.get(), TIOCSWINSZ, &size) != 0) return fail_errno("cannot set the terminal's size");
  }
  if (::fchown(terminal.slave.get(), process.user.uid, static_cast<gid_t>(-1)) != 0 && errno != EPERM &&
      errno != EINVAL) {
    return fail_errno("cannot give the terminal to the user");
  }
  return terminal;
}

Result<> take_terminal(const host::Fd& slave) {
  if (::ioctl(slave.get(), TIOCSCTTY, 0) != 0) return fail_errno("cannot take the terminal");
  for (int number = 0; number < 3; ++number) {
    if (::dup2(slave.get(), number) < 0)
      return fail_errno("cannot put the terminal on descriptor " + std::to_string(number));
  }
  return {};
}

}  // namespace nagaya::container
