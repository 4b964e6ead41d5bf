// Messages between a container's monitor and whoever is at its console: packets of a SOCK_SEQPACKET socket (control.sock), a letter each
// and its bytes.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/types.hpp"
#include "host/fd.hpp"

namespace nagaya::domain {

enum class ConsoleWord : char {
  // to the monitor
  attach = 'A',  ///< from now on output is wanted; no bytes
  go = 'G',      ///< start the program (of a container whose start waits for its first client)
  input = 'I',
  input_end = 'E',
  resize = 'R',       ///< "COLUMNS ROWS"
  signal = 'S',       ///< number
  no_restart = 'N',   ///< it is being stopped: do not start it again
  // from the monitor
  out = '1',
  err = '2',
  exit = 'X',    ///< exit code, the last word
  failure = 'F', ///< why it could not be started
  done = 'D',    ///< of no_restart
};

inline constexpr std::size_t largest_console_packet = 64 * 1024;

/// False: not now (EAGAIN) or the peer is gone.
bool send_console(int socket, ConsoleWord word, std::string_view bytes, bool wait);

struct ConsoleMessage {
  ConsoleWord word{};
  std::string bytes;
};
/// Nothing: the peer has gone, or (with `wait` off) there is none now; `gone` tells which.
std::optional<ConsoleMessage> receive_console(int socket, bool wait, bool* gone);

}  // namespace nagaya::domain
