#include "agent/channel.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace nagaya::agent {

Result<> Channel::flush() {
  while (out_at_ < out_.size()) {
    const ssize_t n = ::send(socket_.get(), out_.data() + out_at_, out_.size() - out_at_, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return {};
    if (n < 0) return fail_errno("the connection to the other side is gone");
    out_at_ += static_cast<std::size_t>(n);
  }
  out_.clear();
  out_at_ = 0;
  return {};
}

Result<bool> Channel::fill() {
  std::array<u8, 64 * KiB> bytes;
  ssize_t n;
  do n = ::recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  if (n < 0 && errno == EAGAIN) return true;
  if (n < 0) return fail_errno("the connection to the other side is gone");
  reader_.feed(std::span(bytes).first(static_cast<std::size_t>(n)));
  return n > 0;
}

Result<> Channel::send(Kind kind, std::span<const u8> payload) {
  queue(kind, payload);
  while (true) {
    TRY(flush());
    if (waiting() == 0) return {};
    pollfd wait{socket_.get(), POLLOUT, 0};
    if (::poll(&wait, 1, -1) < 0 && errno != EINTR) return fail_errno("cannot wait");
  }
}

Result<std::optional<Frame>> Channel::receive(int timeout_ms) {
  while (true) {
    TRY_ASSIGN(std::optional<Frame> frame, reader_.next());
    if (frame) return frame;
    pollfd wait{socket_.get(), POLLIN, 0};
    const int ready = ::poll(&wait, 1, timeout_ms);
    if (ready < 0 && errno != EINTR) return fail_errno("cannot wait");
    if (ready == 0) return fail_errno("no answer", ETIMEDOUT);
    if (ready < 0) continue;
    TRY_ASSIGN(const bool more, fill());
    if (more) continue;
    if (!reader_.empty()) return fail("the agent's protocol", "the connection ended inside a frame");
    return std::nullopt;
  }
}

}  // namespace nagaya::agent
