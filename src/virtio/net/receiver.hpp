// From a link into a guest's buffers. On the pair's thread only, apart from the counters.
#pragma once
#include <sys/uio.h>

#include <atomic>
#include <vector>

#include "net/link.hpp"
#include "virtio/chain.hpp"
#include "virtio/net/filter.hpp"
#include "virtio/net/wait.hpp"

namespace nagaya::virtio {

class Net;

class NetReceiver {
 public:
  NetReceiver(Net& net, unsigned queue, net::Link& link);

  void begin();
  /// Gives everything back to the ring as it was.
  void end();
  /// Moves packets until something is lacking, or for a while; not when `going` is false.
  NetWait round(const std::atomic<bool>& going);
  /// Before sleeping on the ring: true when there is work already.
  [[nodiscard]] bool arm();
  /// When to go on at the latest; 0: no such time.
  [[nodiscard]] u64 wake_at() const { return wake_at_; }

  [[nodiscard]] u64 packets() const { return packets_.load(std::memory_order_relaxed); }
  [[nodiscard]] u64 dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  [[nodiscard]] Chain& held(unsigned index) { return held_[(first_ + index) & (held_.size() - 1)]; }
  void fill();
  [[nodiscard]] bool gather();
  bool receive(bool direct);
  [[nodiscard]] bool acceptable(std::size_t bytes);
  [[nodiscard]] bool fits(std::size_t bytes);
  void deliver(std::size_t bytes, std::size_t copied);
  void drop() { dropped_.store(dropped() + 1, std::memory_order_relaxed); }

  Net& net_;
  const unsigned queue_;
  net::Link& link_;
  NetFilter filter_;
  u32 filter_version_ = 0;
  bool mergeable_ = false, by_vlan_ = false, notifying_ = false;
  u64 wanted_ = 0;                 // bytes of buffers to hold before a packet is read straight into them
  std::vector<Chain> held_;        // buffers popped and not used yet: a ring, in their order
  unsigned first_ = 0, count_ = 0;
  u64 held_bytes_ = 0;
  std::size_t room_ = 0;           // of what gather() found
  std::vector<iovec> parts_;
  std::vector<u8> own_;            // a packet's start; the whole packet where buffers were short
  std::size_t waiting_ = 0;        // bytes of a whole packet in own_ that waits for buffers
  u64 waiting_until_ = 0, wake_at_ = 0;
  std::atomic<u64> packets_ = 0, dropped_ = 0;
};

}  // namespace nagaya::virtio
