// A machine at the switch: a SOCK_SEQPACKET socket that carries packets in the form of net/wire.hpp. What the socket cannot
// take now waits in a queue of bounded size; what does not fit there is dropped, as a switch does.
#pragma once
#include <sys/uio.h>

#include <deque>
#include <vector>

#include "host/fd.hpp"
#include "netd/switch.hpp"

namespace nagaya::netd {

class SocketPort final : public Station {
 public:
  static constexpr std::size_t most_queued = 4 * MiB, crowded_at = 512 * KiB;

  explicit SocketPort(host::Fd socket);

  void deliver(unsigned from, const net::Header& header, std::span<u8> frame) override;
  /// Sends what waits, as far as the socket takes it.
  void flush();
  /// A control message: what we can receive.
  void announce();
  void set_offloads(u32 bits) { offloads_ = bits & net::offload::all; }

  [[nodiscard]] int fd() const { return socket_.get(); }
  [[nodiscard]] bool waiting() const { return !queue_.empty(); }
  /// So much waits that whoever can should send less.
  [[nodiscard]] bool crowded() const { return queued_ >= crowded_at; }
  /// The other end has gone.
  [[nodiscard]] bool broken() const { return broken_; }
  [[nodiscard]] u64 dropped() const { return dropped_; }

 private:
  /// False: no room now.
  bool send_now(const net::Header& header, std::span<const iovec> frame);

  host::Fd socket_;
  u32 offloads_ = 0;  // until it tells
  std::deque<std::vector<u8>> queue_;
  std::size_t queued_ = 0;
  u64 dropped_ = 0;
  bool broken_ = false;
};

}  // namespace nagaya::netd
