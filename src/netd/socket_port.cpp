#include "netd/socket_port.hpp"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "netd/offload.hpp"

namespace nagaya::netd {

SocketPort::SocketPort(host::Fd socket) : socket_(std::move(socket)) {
  // As far as the system allows (net.core.wmem_max): a packet of 64 KiB fills a third of the usual buffer.
  const int size = 1 * MiB;
  (void)::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

void SocketPort::announce() {
  const u32 bits = net::offload::all;
  if (::send(socket_.get(), &bits, sizeof bits, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN) broken_ = true;
}

bool SocketPort::send_now(const net::Header& header, std::span<const iovec> frame) {
  net::Header head = header;
  iovec parts[4] = {{&head, sizeof head}};
  std::copy(frame.begin(), frame.end(), parts + 1);
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 1 + frame.size();
  ssize_t sent;
  do sent = ::sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent >= 0) return true;
  if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM) return false;
  // A message that is too large for the socket's buffer is lost; any other error is the end.
  if (errno == EMSGSIZE) {
    ++dropped_;
  } else {
    broken_ = true;
  }
  return true;
}

void SocketPort::deliver(unsigned, const net::Header& header, std::span<u8> frame) {
  fit(header, frame, offloads_, [this](const net::Header& head, std::span<const iovec> whole) {
    if (broken_) return;
    net::Header told = head;
    if (!(offloads_ & net::offload::csum)) told.flags &= static_cast<u8>(~net::flag::data_valid);
    if (queue_.empty() && send_now(told, whole)) return;
    std::size_t size = sizeof told;
    for (const iovec& part : whole) size += part.iov_len;
    if (queued_ + size > most_queued) {
      ++dropped_;
      return;
    }
    std::vector<u8>& message = queue_.emplace_back(size);
    std::memcpy(message.data(), &told, sizeof told);
    u8* at = message.data() + sizeof told;
    for (const iovec& part : whole) {
      std::memcpy(at, part.iov_base, part.iov_len);
      at += part.iov_len;
    }
    queued_ += size;
  });
}

void SocketPort::flush() {
  while (!queue_.empty() && !broken_) {
    const std::vector<u8>& message = queue_.front();
    net::Header head;
    std::memcpy(&head, message.data(), sizeof head);
    const iovec frame{const_cast<u8*>(message.data()) + sizeof head, message.size() - sizeof head};
    if (!send_now(head, std::span(&frame, 1))) return;
    queued_ -= message.size();
    queue_.pop_front();
  }
}

}  // namespace nagaya::netd
