#include "net/link.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "net/packet_link.hpp"
#include "net/tap.hpp"

namespace nagaya::net {
namespace {

/// Room for a dozen or two of the largest messages, as far as the host allows; more would only make packets wait longer.
constexpr int socket_buffer = static_cast<int>(MiB);
/// Control messages taken in one call: someone who sends nothing else does not hold us.
constexpr unsigned most_controls = 16;

class SocketLink final : public Link {
 public:
  explicit SocketLink(host::Fd fd) : Link(std::move(fd), 0) {
    // More than the host's limit is cut down to it.
    (void)::setsockopt(this->fd(), SOL_SOCKET, SO_SNDBUF, &socket_buffer, sizeof socket_buffer);
  }

  std::size_t send(std::span<const Message> messages) override {
    std::size_t sent = 0;
    while (sent < messages.size()) {
      if (closed() || deaf_) return messages.size();
      const std::size_t count = std::min(messages.size() - sent, batch_.size());
      for (std::size_t i = 0; i < count; ++i) {
        const Message& message = messages[sent + i];
        batch_[i].msg_hdr = {.msg_iov = const_cast<iovec*>(message.data()), .msg_iovlen = message.size()};
      }
      const int done = ::sendmmsg(fd(), batch_.data(), static_cast<unsigned>(count), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (done > 0) {
        sent += static_cast<std::size_t>(done);
      } else if (done == 0 || errno == EAGAIN) {
        return sent;
      } else if (errno != EINTR) {
        failed(errno);
        ++sent;  // dropped
      }
    }
    return sent;
  }

  std::size_t receive(std::span<const iovec> parts) override {
    for (unsigned controls = 0; controls < most_controls; ++controls) {
      if (closed()) return nothing;
      msghdr message{.msg_iov = const_cast<iovec*>(parts.data()), .msg_iovlen = parts.size()};
      const ssize_t bytes = ::recvmsg(fd(), &message, MSG_DONTWAIT);
      if (bytes < 0) {
        // A side that left without reading all of ours is told once; what it sent before can still be read.
        if (errno == EINTR || errno == ECONNRESET) continue;
        if (errno != EAGAIN) close();
        return nothing;
      }
      if (bytes == 0) {
        // An empty message, or the end: only the latter stays.
        pollfd poll{fd(), POLLIN | POLLRDHUP, 0};
        if (::poll(&poll, 1, 0) == 1 && poll.revents & (POLLHUP | POLLRDHUP) && is_end()) close();
        continue;
      }
      if (bytes != control_size) return static_cast<std::size_t>(bytes);
      set_peer_offloads(control_bits(std::span<const u8, control_size>(static_cast<const u8*>(parts[0].iov_base), control_size)));
    }
    return nothing;
  }

  bool tell_offloads(u32 bits) override {
    for (;;) {
      if (closed() || deaf_ || ::send(fd(), &bits, sizeof bits, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return true;
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return false;
      failed(errno);
      return true;
    }
  }

 private:
  void failed(int error) {
    if (error == EPIPE || error == ECONNRESET || error == ENOTCONN) deaf_ = true;
  }
  /// After a hang-up: whether nothing is left to read.
  [[nodiscard]] bool is_end() const {
    u8 byte;
    return ::recv(fd(), &byte, 1, MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC) <= 0;
  }

  bool deaf_ = false;  // the other side receives no more
  std::array<mmsghdr, 64> batch_{};
};

Result<std::unique_ptr<Link>> adopt_socket(host::Fd fd) {
  int type = 0, domain = 0;
  socklen_t size = sizeof type;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_PACKET) return adopt_packet_socket(std::move(fd));
  size = sizeof type;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_TYPE, &type, &size) != 0) return fail_errno("network socket");
  if (type != SOCK_SEQPACKET) return fail("network socket", "it is not of type SOCK_SEQPACKET");
  return std::make_unique<SocketLink>(std::move(fd));
}

}  // namespace

Result<std::unique_ptr<Link>> adopt_link(host::Fd fd) {
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return fail_errno(fmt::format("network descriptor {}", fd.get()));
  if (S_ISSOCK(info.st_mode)) return adopt_socket(std::move(fd));
  return adopt_tap(std::move(fd));
}

Result<std::unique_ptr<Link>> connect_link(const std::string& path) {
  const std::string context = fmt::format("cannot connect to the network at '{}'", path);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return fail(context, "the path is empty or too long");
  std::memcpy(address.sun_path, path.data(), path.size());
  host::Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno(context);
  while (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (errno != EINTR) return fail_errno(context, 0, "is its nagaya-net process running?");
  }
  return adopt_socket(std::move(fd));
}

Result<std::pair<host::Fd, host::Fd>> link_pair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) return fail_errno("cannot create a pair of sockets");
  return std::pair{host::Fd(fds[0]), host::Fd(fds[1])};
}

}  // namespace nagaya::net
