// From a guest's buffers onto a link. On the pair's thread only, apart from the counters.
#pragma once
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <vector>

#include "net/link.hpp"
#include "net/segment.hpp"
#include "virtio/chain.hpp"
#include "virtio/net/wait.hpp"

namespace nagaya::virtio {

class Net;

class NetSender {
 public:
  NetSender(Net& net, unsigned queue, net::Link& link);

  void begin();
  /// Gives everything back to the ring; of a packet that was cut, what was not sent yet is lost.
  void end();
  NetWait round(const std::atomic<bool>& going);
  [[nodiscard]] bool arm();
  [[nodiscard]] u64 wake_at() const { return wake_at_ == 0 || tell_at_ == 0 ? wake_at_ + tell_at_ : std::min(wake_at_, tell_at_); }

  [[nodiscard]] u64 packets() const { return packets_.load(std::memory_order_relaxed); }
  [[nodiscard]] u64 dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  static constexpr unsigned batch = 32;

  enum class Fate : u8 { send, drop, cut };
  struct Entry {
    Chain chain;
    net::Header header;
    std::vector<iovec> parts;
    Fate fate = Fate::send;
  };

  struct Batch {
    unsigned count = 0;
    bool cut = false;  ///< the next packet in the ring has to be cut
    NetWait lacks = NetWait::nothing;
  };

  [[nodiscard]] Batch collect();
  [[nodiscard]] bool cut_next();
  [[nodiscard]] bool prepare(Entry& entry);
  [[nodiscard]] Fate judge(Entry& entry);
  [[nodiscard]] bool flush(unsigned count);
  [[nodiscard]] bool begin_cut();
  [[nodiscard]] bool send_cut();
  void finish(const Entry& entry, u64 now);
  void publish(unsigned count);
  void tell(u64 now);

  Net& net_;
  const unsigned queue_;
  net::Link& link_;
  u32 offloads_ = 0;  // what the driver may ask for
  bool notifying_ = false, begun_cut_ = false;
  std::array<Entry, batch> entries_;
  std::vector<net::Link::Message> messages_;
  net::Segmenter segmenter_;
  Entry cutting_;             // the packet that is being cut
  std::vector<u8> frame_;     // its copy
  u64 wake_at_ = 0;
  u64 told_at_ = 0, tell_at_ = 0;  // the last interrupt; when the next is due, 0: none
  unsigned untold_ = 0;            // packets done with since the last
  std::atomic<u64> packets_ = 0, dropped_ = 0;
};

}  // namespace nagaya::virtio
