#include "virtio/net/receiver.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "host/timer_queue.hpp"
#include "virtio/net/layout.hpp"
#include "virtio/net/net.hpp"

namespace nagaya::virtio {
namespace {

using net::header_size;
using net::largest_message;

/// What we look at ourselves: the header, and the frame's start up to a VLAN tag.
constexpr std::size_t head_size = header_size + net::ethernet_size + net::vlan_size;
/// A message that reaches into these bytes behind its buffers was too large.
constexpr std::size_t spill_size = 16;
constexpr unsigned most_in_a_round = 64;
/// Fewer than a message may have, as the head and the spill come on top.
constexpr std::size_t most_parts = net::Link::most_parts - 2;
/// How long a packet waits for buffers once it was read.
constexpr u64 patience_ns = 50'000'000;

}  // namespace

NetReceiver::NetReceiver(Net& net, unsigned queue, net::Link& link)
    : net_(net), queue_(queue), link_(link), own_(largest_message + spill_size) {}

void NetReceiver::begin() {
  mergeable_ = net_.negotiated(net_layout::f_mrg_rxbuf);
  by_vlan_ = net_.negotiated(net_layout::f_ctrl_vlan);
  // Without mergeable buffers a packet has one buffer, whatever its size.
  wanted_ = mergeable_ ? largest_message : 1;
  const std::size_t most = std::bit_ceil(std::size_t{net_.queue(queue_).size()});
  if (held_.size() < most) held_.resize(most);
  first_ = count_ = 0;
  held_bytes_ = waiting_ = 0;
  filter_version_ = 0;
  wake_at_ = 0;
  net_.queue(queue_).disable_notifications();
  notifying_ = false;
}

void NetReceiver::end() {
  if (waiting_ != 0) drop();
  waiting_ = 0;
  while (count_ > 0) net_.queue(queue_).unpop(held(--count_));
  held_bytes_ = 0;
}

bool NetReceiver::arm() {
  notifying_ = true;
  return net_.queue(queue_).enable_notifications();
}

NetWait NetReceiver::round(const std::atomic<bool>& going) {
  wake_at_ = 0;
  net_.refresh_filter(filter_, filter_version_);
  for (unsigned i = 0; i < most_in_a_round; ++i) {
    if (!going.load(std::memory_order_relaxed) || !net_.sound()) return NetWait::ring;
    const bool up = net_.link_up();
    if (up) {
      fill();
      if (!net_.sound()) return NetWait::ring;
      if (waiting_ != 0) {
        if (fits(waiting_)) {
          deliver(waiting_, waiting_);
        } else if (host::monotonic_ns() < waiting_until_) {
          wake_at_ = waiting_until_;
          return NetWait::ring;
        } else {
          drop();
        }
        waiting_ = 0;
        continue;
      }
      if (net_.rate_in_.limits()) {
        const u64 now = host::monotonic_ns();
        if (const u64 wait = net_.rate_in_.wait(now)) {
          wake_at_ = now + wait;
          return NetWait::time;
        }
      }
      // Nothing to put packets into: they stay with whoever sent them.
      if (count_ == 0) return NetWait::ring;
    } else if (waiting_ != 0) {
      waiting_ = 0;
      drop();
    }
    if (!receive(up && gather())) return NetWait::link;
  }
  return NetWait::nothing;
}

/// Takes buffers from the ring until the largest packet has room.
void NetReceiver::fill() {
  if (held_bytes_ >= wanted_) return;
  Queue& ring = net_.queue(queue_);
  if (notifying_ && ring.has_work()) {
    ring.disable_notifications();
    notifying_ = false;
  }
  while (held_bytes_ < wanted_ && count_ < held_.size()) {
    Chain& next = held(count_);
    if (!net_.pop(queue_, next)) return;
    ++count_;
    held_bytes_ += next.writable_bytes;
    if (next.writable_bytes < header_size) {
      net_.broken("a network buffer that has no room for a header");
      return;
    }
  }
}

/// Collects the pieces of guest memory behind the head. False when a packet has to go through our own buffer.
bool NetReceiver::gather() {
  if (held_bytes_ < wanted_) return false;
  parts_.clear();
  parts_.push_back({own_.data(), head_size});
  room_ = 0;
  u64 skip = head_size;
  for (unsigned i = 0; i < (mergeable_ ? count_ : 1) && room_ < wanted_; ++i) {
    const Chain& chain = held(i);
    if (parts_.size() + chain.writable.size() > most_parts) return false;
    const u64 skipped = std::min(skip, chain.writable_bytes);
    slice(chain.writable, skipped, chain.writable_bytes - skipped, parts_);
    skip -= skipped;
    room_ += chain.writable_bytes;
  }
  parts_.push_back({own_.data() + largest_message, spill_size});
  return room_ >= head_size;
}

/// Receives one message and deals with it; false when there is none.
bool NetReceiver::receive(bool direct) {
  if (!direct) {
    parts_.assign(1, {own_.data(), own_.size()});
    room_ = largest_message;
  }
  const std::size_t bytes = link_.receive(parts_);
  if (bytes == net::Link::nothing) return false;
  if (bytes > room_ || !acceptable(bytes) || !net_.link_up()) {
    drop();
    return true;
  }
  if (net_.rate_in_.limits()) net_.rate_in_.take(bytes, host::monotonic_ns());
  if (direct) {
    deliver(bytes, std::min(bytes, head_size));
  } else {
    waiting_ = bytes;
    waiting_until_ = host::monotonic_ns() + patience_ns;
  }
  return true;
}

/// Whether the driver can take the packet whose head is in own_; mends its header.
bool NetReceiver::acceptable(std::size_t bytes) {
  if (bytes < header_size) return false;
  net::Header header;
  std::memcpy(&header, own_.data(), header_size);
  auto good = net::checked(header, bytes - header_size);
  if (!good) return false;
  const u32 can = net_.receive_offloads();
  if (net::wanted_offloads(*good) & ~can) return false;
  if (!(can & net::offload::csum)) good->flags = 0;
  std::memcpy(own_.data(), &*good, header_size);
  return filter_.passes(std::span(own_).subspan(header_size, std::min(bytes, head_size) - header_size), by_vlan_);
}

bool NetReceiver::fits(std::size_t bytes) {
  return count_ > 0 && (mergeable_ ? held_bytes_ : held(0).writable_bytes) >= bytes;
}

/// The packet lies in the buffers held, apart from its first `copied` bytes, which are in own_.
void NetReceiver::deliver(std::size_t bytes, std::size_t copied) {
  Queue& ring = net_.queue(queue_);
  u16 used = 0;
  for (u64 left = bytes; left > 0; ++used) left -= std::min(left, held(used).writable_bytes);
  net::Header header;
  std::memcpy(&header, own_.data(), header_size);
  header.num_buffers = used;
  std::memcpy(own_.data(), &header, header_size);

  std::span<const u8> head(own_.data(), copied);
  u64 left = bytes;
  for (unsigned i = 0; i < used; ++i) {
    const Chain& chain = held(i);
    if (!head.empty()) head = head.subspan(chain.write(0, head));
    const u64 share = std::min(left, chain.writable_bytes);
    ring.stage(chain, share);
    left -= share;
    held_bytes_ -= chain.writable_bytes;
  }
  first_ = (first_ + used) & static_cast<unsigned>(held_.size() - 1);
  count_ -= used;
  ring.publish();
  net_.interrupt(queue_);
  packets_.store(packets() + 1, std::memory_order_relaxed);
}

}  // namespace nagaya::virtio
