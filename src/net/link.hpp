// A way for packets between one queue pair of a network card and the outside: a SOCK_SEQPACKET UNIX socket or a queue of a
// tap device. Messages are those of wire.hpp. Nothing here blocks: whoever uses a link polls its descriptor.
#pragma once
#include <sys/uio.h>

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "host/fd.hpp"
#include "net/wire.hpp"

namespace nagaya::net {

/// Sending and receiving are for one thread each; the rest is thread-safe.
class Link {
 public:
  /// What receive() gives when there was no message.
  static constexpr std::size_t nothing = 0;
  static constexpr std::size_t most_parts = 1024;  ///< of a message (IOV_MAX)

  virtual ~Link() = default;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  [[nodiscard]] int fd() const { return fd_.get(); }
  /// The other side is gone for good: nothing is received, and what is sent vanishes.
  [[nodiscard]] bool closed() const { return closed_.load(std::memory_order_relaxed); }
  /// What the other side can receive now.
  [[nodiscard]] u32 peer_offloads() const { return peer_offloads_.load(std::memory_order_relaxed); }

  /// A whole message: its header, then pieces of its frame.
  using Message = std::span<const iovec>;
  /// Hands over messages in order; returns how many. When fewer than all, the rest has to wait for POLLOUT. What cannot be
  /// delivered at all counts as sent, as on any network.
  virtual std::size_t send(std::span<const Message> messages) = 0;
  /// Receives one message into `parts`, the first of which takes at least a header; returns its bytes, at most those of
  /// `parts`, or `nothing`. Control messages are taken here.
  virtual std::size_t receive(std::span<const iovec> parts) = 0;
  /// Tells the other side what we can receive from now on. False: not yet, try again at POLLOUT.
  virtual bool tell_offloads(u32 bits) = 0;
  /// Whether this queue of several takes part. True in the beginning.
  virtual Result<> attach(bool /*on*/) { return {}; }

 protected:
  Link(host::Fd fd, u32 peer_offloads) : fd_(std::move(fd)), peer_offloads_(peer_offloads) {}
  void close() { closed_.store(true, std::memory_order_relaxed); }
  void set_peer_offloads(u32 bits) { peer_offloads_.store(bits & offload::all, std::memory_order_relaxed); }

 private:
  const host::Fd fd_;
  std::atomic<bool> closed_ = false;
  std::atomic<u32> peer_offloads_;
};

/// A link over an inherited descriptor, be it a socket or a tap.
Result<std::unique_ptr<Link>> adopt_link(host::Fd fd);
/// Connects to a SOCK_SEQPACKET socket at `path`.
Result<std::unique_ptr<Link>> connect_link(const std::string& path);
/// Two ends of a new connection.
Result<std::pair<host::Fd, host::Fd>> link_pair();

}  // namespace nagaya::net
