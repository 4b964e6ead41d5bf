#include "domain/console_protocol.hpp"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <utility>

namespace nagaya::domain {

bool send_console(int socket, ConsoleWord word, std::string_view bytes, bool wait) {
  char letter = static_cast<char>(word);
  iovec parts[2] = {{&letter, 1}, {const_cast<char*>(bytes.data()), bytes.size()}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  ssize_t sent;
  do sent = ::sendmsg(socket, &message, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
  while (sent < 0 && errno == EINTR);
  return sent >= 0;
}

std::optional<ConsoleMessage> receive_console(int socket, bool wait, bool* gone) {
  std::string bytes(largest_console_packet + 1, '\0');
  ssize_t got;
  // A peer that went without reading all we sent is told first; its last words are behind that.
  bool reset = false;
  do got = ::recv(socket, bytes.data(), bytes.size(), wait ? 0 : MSG_DONTWAIT);
  while (got < 0 && (errno == EINTR || (errno == ECONNRESET && !std::exchange(reset, true))));
  *gone = got == 0 || (got < 0 && errno != EAGAIN);
  if (got <= 0) return std::nullopt;
  bytes.resize(static_cast<std::size_t>(got));
  ConsoleMessage out{static_cast<ConsoleWord>(bytes[0]), {}};
  out.bytes = bytes.substr(1);
  return out;
}

}  // namespace nagaya::domain
