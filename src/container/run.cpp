// run: create and start in one command, which stays until the end unless it is told not to.
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <termios.h>
#include <unistd.h>

#include "container/channel.hpp"
#include "container/container.hpp"
#include "container/spec/parse.hpp"
#include "container/wait.hpp"
#include "container/warning.hpp"

namespace nagaya::container {

Result<int> run(const CreateOptions& options, bool detach, bool keep) {
  CreateOptions mine = options;
  std::optional<host::Fd> relay, other_end;
  if (!detach && options.console_socket.empty()) {
    TRY_ASSIGN(auto ends, channel());
    relay = std::move(ends.first);
    other_end = std::move(ends.second);
    mine.console_connection = other_end->get();
    // Before the program asks for it.
    if (winsize size{}; ::ioctl(0, TIOCGWINSZ, &size) == 0) mine.console_size = {size.ws_row, size.ws_col};
  }
  // Orphans of the container become ours to wait for, so that none is left as a zombie while we stay.
  if (!detach && !options.no_subreaper) ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  TRY_ASSIGN(const State made, create(mine));
  other_end.reset();
  if (auto started = start(options.state_root, options.id); !started) {
    if (auto gone = remove(options.state_root, options.id, true); !gone) warn(gone.error().message());
    return std::unexpected(std::move(started.error()));
  }
  if (detach) return 0;
  const auto status = made.terminal && relay ? wait_with_terminal(made.pid, *relay) : wait_for(made.pid);
  if (!keep) {
    if (auto gone = remove(options.state_root, options.id, true); !gone) warn(gone.error().message());
  }
  return status;
}

}  // namespace nagaya::container
