#include "host/passing.hpp"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>

namespace nagaya::host {

Result<std::size_t> send_passing(int socket, std::string_view bytes, int fd) {
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* const head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(head), &fd, sizeof fd);
  ssize_t sent;
  do sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent < 0) return fail_errno("cannot send a descriptor");
  return static_cast<std::size_t>(sent);
}

Result<> send_with_file(int socket, std::string_view text, int fd) {
  TRY_ASSIGN(const std::size_t sent, send_passing(socket, text, fd));
  // The file went with the first byte.
  return write_all(socket, text.substr(sent));
}

Result<Passed> receive_passing(int socket, std::span<char> bytes, int flags) {
  iovec part{bytes.data(), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got;
  do got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | flags);
  while (got < 0 && errno == EINTR);
  if (got < 0) return fail_errno("cannot receive from a socket");
  Passed out{static_cast<std::size_t>(got), {}};
  const cmsghdr* const head = CMSG_FIRSTHDR(&message);
  int fd = -1;
  if (head != nullptr && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS && head->cmsg_len >= CMSG_LEN(sizeof fd)) {
    std::memcpy(&fd, CMSG_DATA(head), sizeof fd);
    out.fd = Fd(fd);
  }
  return out;
}

}  // namespace nagaya::host
