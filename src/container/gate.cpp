#include "container/gate.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace nagaya::container {
namespace {

/// By the folder's descriptor: a socket's path has at most 107 characters, an id up to 1024.
sockaddr_un address_of(const Folder& folder) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = "/proc/self/fd/" + std::to_string(folder.fd()) + "/gate";
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

}  // namespace

Result<host::Fd> make_gate(const Folder& folder) {
  host::Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket) return fail_errno("cannot make a socket");
  const sockaddr_un address = address_of(folder);
  ::unlinkat(folder.fd(), "gate", 0);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(socket.get(), 16) != 0) {
    return fail_errno("cannot make '" + folder.path("gate") + "'");
  }
  return socket;
}

Result<host::Fd> knock(const Folder& folder) {
  // Not blocking while it connects: a process that is stopped or frozen accepts nobody, and its queue may be full.
  host::Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail_errno("cannot make a socket");
  const sockaddr_un address = address_of(folder);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno("cannot reach the container's first process");
  }
  ::fcntl(socket.get(), F_SETFL, 0);
  return socket;
}

}  // namespace nagaya::container
