#include "netd/splice.hpp"

#include <poll.h>

#include <array>
#include <vector>

namespace nagaya::netd {
namespace {

constexpr unsigned batch = 64;

/// One direction. A message that the other side cannot take now stays, and nothing more is received until it has gone.
class Lane {
 public:
  Lane(net::Link& from, net::Link& to) : from_(from), to_(to), buffer_(net::largest_message) {}

  [[nodiscard]] bool waiting() const { return size_ != 0; }
  void run() {
    for (unsigned i = 0; i < batch; ++i) {
      if (size_ == 0) {
        const iovec room{buffer_.data(), buffer_.size()};
        size_ = from_.receive(std::span(&room, 1));
        if (size_ == 0) return;
      }
      const iovec whole{buffer_.data(), size_};
      const net::Link::Message message(&whole, 1);
      if (to_.send(std::span(&message, 1)) == 0) return;
      size_ = 0;
    }
  }
  /// The receiver of this lane can take what the sender's far end can: told again when it changes.
  void pass_offloads() {
    if (told_ == to_.peer_offloads() + u64{1}) return;
    if (from_.tell_offloads(to_.peer_offloads())) told_ = to_.peer_offloads() + u64{1};
  }

 private:
  net::Link& from_;
  net::Link& to_;
  std::vector<u8> buffer_;
  std::size_t size_ = 0;
  u64 told_ = 0;  // 0: nothing yet, else bits + 1
};

}  // namespace

void splice_links(net::Link& first, net::Link& second, int stop_fd) {
  Lane there(first, second), back(second, first);
  while (!first.closed() && !second.closed()) {
    there.pass_offloads();
    back.pass_offloads();
    const auto events = [](const Lane& out, const Lane& in) {
      return static_cast<short>((out.waiting() ? 0 : POLLIN) | (in.waiting() ? POLLOUT : 0));
    };
    std::array<pollfd, 3> watched{{{first.fd(), events(there, back), 0}, {second.fd(), events(back, there), 0}, {stop_fd, POLLIN, 0}}};
    if (::poll(watched.data(), watched.size(), -1) < 0) continue;
    if (watched[2].revents != 0) return;
    there.run();
    back.run();
    // A tap whose card has gone, or a socket without a peer that has nothing left to read.
    for (std::size_t i = 0; i < 2; ++i) {
      if ((watched[i].revents & (POLLERR | POLLNVAL)) != 0) return;
    }
  }
}

}  // namespace nagaya::netd
