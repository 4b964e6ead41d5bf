// Descriptors that go through sockets beside bytes (unix(7), SCM_RIGHTS).
#pragma once
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "base/result.hpp"
#include "host/fd.hpp"

namespace nagaya::host {

/// Sends `bytes` (at least one) in one call, with `fd` beside them; how many went: all of them on a packet socket.
Result<std::size_t> send_passing(int socket, std::string_view bytes, int fd);

struct Passed {
  std::size_t bytes = 0;  ///< 0: the other side has closed
  Fd fd;                  ///< empty: none came
};
/// One recvmsg(2) with room for one descriptor; more are closed by the kernel. `flags` are added (MSG_DONTWAIT).
Result<Passed> receive_passing(int socket, std::span<char> bytes, int flags = 0);

/// Sends `text` over a UNIX socket, and with it the open file of a descriptor (SCM_RIGHTS).
Result<> send_with_file(int socket, std::string_view text, int fd);

}  // namespace nagaya::host
