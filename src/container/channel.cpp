#include "container/channel.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "host/passing.hpp"

namespace nagaya::container {
namespace {

constexpr std::size_t message_limit = 16384;

void append(std::string& out, const std::string& part) {
  out.append(part, 0, message_limit / 4);
  out += '\0';
}

}  // namespace

Result<std::pair<host::Fd, host::Fd>> channel() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return fail_errno("cannot make a socket pair");
  return std::pair(host::Fd(ends[0]), host::Fd(ends[1]));
}

Result<> send(int socket, Word word, std::string_view text) {
  std::string packet(1, static_cast<char>(word));
  packet += text;
  ssize_t count = 0;
  do {
    count = ::send(socket, packet.data(), packet.size(), MSG_NOSIGNAL);
  } while (count < 0 && errno == EINTR);
  if (count < 0) return fail_errno("cannot tell the other process");
  return {};
}

void send_error(int socket, const Error& error) {
  std::string text;
  append(text, error.what);
  append(text, error.why);
  append(text, error.hint);
  append(text, std::to_string(error.code));
  (void)send(socket, Word::error, text);
}

Result<std::optional<Message>> receive(int socket) {
  // On the stack: the first process of a container waits here for hours, and its memory counts.
  char packet[message_limit];
  ssize_t count = 0;
  do {
    count = ::recv(socket, packet, sizeof packet, 0);
  } while (count < 0 && errno == EINTR);
  if (count < 0 && errno != ECONNRESET) return fail_errno("cannot hear the other process");
  if (count <= 0) return std::nullopt;
  Message message{static_cast<Word>(packet[0]), std::string(packet + 1, static_cast<std::size_t>(count) - 1)};
  if (message.word != Word::error) return message;
  Error error;
  std::string code;
  std::size_t at = 0;
  for (std::string* part : {&error.what, &error.why, &error.hint, &code}) {
    const std::size_t end = message.text.find('\0', at);
    if (end == std::string::npos) break;
    *part = message.text.substr(at, end - at);
    at = end + 1;
  }
  error.code = std::atoi(code.c_str());
  return std::unexpected(std::move(error));
}

Result<std::string> expect(int socket, Word word, const char* who) {
  TRY_ASSIGN(auto message, receive(socket));
  if (!message) return fail(std::string(who) + " ended before it was ready");
  if (message->word != word) return fail(std::string(who) + " answered out of turn");
  return std::move(message->text);
}

Result<> send_fd(int socket, int fd, std::string_view text) {
  // At least one byte must go with it.
  TRY(host::send_passing(socket, text.empty() ? std::string_view("\0", 1) : text, fd));
  return {};
}

Result<host::Fd> receive_fd(int socket) {
  char text[4096];
  TRY_ASSIGN(host::Passed passed, host::receive_passing(socket, text));
  if (!passed.fd) return fail("a descriptor was awaited and none came");
  return std::move(passed.fd);
}

}  // namespace nagaya::container
