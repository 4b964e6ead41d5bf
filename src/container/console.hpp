// A terminal of the container: its master goes to whoever asked for it, its slave becomes the process's terminal.
#pragma once
#include <string>

#include "base/result.hpp"
#include "container/spec/spec.hpp"
#include "host/fd.hpp"

namespace nagaya::container {

struct Terminal {
  host::Fd master, slave;
  std::string name;  ///< "/dev/pts/0"
};

/// Connects to the socket that waits for the master.
Result<host::Fd> connect_console(const std::string& path);
/// Opens a pair in the devpts that is mounted where the caller stands.
Result<Terminal> open_terminal(const Process& process);
/// Makes the slave the controlling terminal of the caller (a session leader) and its descriptors 0, 1, 2.
Result<> take_terminal(const host::Fd& slave);

}  // namespace nagaya::container
