#include "virtio/net/sender.hpp"

#include <cstring>

#include "host/timer_queue.hpp"
#include "virtio/net/net.hpp"

namespace nagaya::virtio {
namespace {

using net::header_size;

constexpr unsigned most_batches = 4;  // before the other direction has its turn
/// Between interrupts. Short enough for a sender whose socket buffer holds two packets.
constexpr u64 interrupt_gap_ns = 250'000;

}  // namespace

NetSender::NetSender(Net& net, unsigned queue, net::Link& link) : net_(net), queue_(queue), link_(link) {
  messages_.reserve(batch);
}

void NetSender::begin() {
  offloads_ = net_.send_offloads();
  wake_at_ = told_at_ = tell_at_ = 0;
  untold_ = 0;
  net_.queue(queue_).disable_notifications();
  notifying_ = false;
}

void NetSender::end() {
  if (tell_at_ != 0) tell(0);
  if (!segmenter_.active()) return;
  segmenter_.cancel();
  if (begun_cut_) {
    finish(cutting_, host::monotonic_ns());
    publish(1);
  } else {
    net_.queue(queue_).unpop(cutting_.chain);
  }
}

bool NetSender::arm() {
  notifying_ = true;
  return net_.queue(queue_).enable_notifications();
}

NetWait NetSender::round(const std::atomic<bool>& going) {
  wake_at_ = 0;
  if (tell_at_ != 0) {
    if (const u64 now = host::monotonic_ns(); now >= tell_at_) tell(now);
  }
  if (segmenter_.active() && !send_cut()) return NetWait::link;
  Queue& ring = net_.queue(queue_);
  if (notifying_) {
    if (!ring.has_work()) return NetWait::ring;
    ring.disable_notifications();
    notifying_ = false;
  }
  for (unsigned i = 0; i < most_batches; ++i) {
    if (!going.load(std::memory_order_relaxed) || !net_.sound()) return NetWait::ring;
    const Batch next = collect();
    if (!flush(next.count)) return NetWait::link;
    if (next.cut && !cut_next()) return NetWait::link;
    if (next.lacks != NetWait::nothing) return next.lacks;
  }
  return NetWait::nothing;
}

/// Takes packets from the ring into entries_, until one has to be cut, which stays there.
NetSender::Batch NetSender::collect() {
  Batch out;
  // One packet at a time where a rate is to be kept.
  const bool limits = net_.rate_out_.limits();
  while (out.count < (limits ? 1 : batch)) {
    if (limits) {
      const u64 now = host::monotonic_ns();
      if (const u64 wait = net_.rate_out_.wait(now)) {
        wake_at_ = now + wait;
        out.lacks = NetWait::time;
        break;
      }
    }
    Entry& entry = entries_[out.count];
    if (!net_.pop(queue_, entry.chain)) {
      out.lacks = NetWait::ring;
      break;
    }
    if (!prepare(entry)) {
      net_.queue(queue_).unpop(entry.chain);
      net_.broken("a network packet without a header");
      out.lacks = NetWait::ring;
      break;
    }
    if (entry.fate == Fate::cut) {
      net_.queue(queue_).unpop(entry.chain);
      out.cut = true;
      break;
    }
    ++out.count;
  }
  return out;
}

/// Cuts the ring's next packet; false when the link is full. It is read anew: only this look at it counts.
bool NetSender::cut_next() {
  if (!net_.pop(queue_, cutting_.chain)) return true;
  if (prepare(cutting_) && begin_cut()) return send_cut();
  cutting_.fate = Fate::drop;
  finish(cutting_, 0);
  publish(1);
  return true;
}

/// Copies and checks the header, and collects the pieces. False: the driver broke a rule.
bool NetSender::prepare(Entry& entry) {
  if (!entry.chain.read_value(0, entry.header)) return false;
  entry.fate = judge(entry);
  return true;
}

NetSender::Fate NetSender::judge(Entry& entry) {
  if (!net_.link_up()) return Fate::drop;
  const u64 size = entry.chain.readable_bytes - header_size;
  if (size > net::largest_frame || entry.chain.readable.size() >= net::Link::most_parts) return Fate::drop;
  const auto good = net::checked(entry.header, size);
  if (!good) return Fate::drop;
  entry.header = *good;
  entry.header.flags &= static_cast<u8>(~net::flag::data_valid);  // not for a driver to say (5.1.6.2)
  const u32 wanted = net::wanted_offloads(entry.header);
  if (wanted & ~offloads_) return Fate::drop;
  if (wanted & ~link_.peer_offloads()) return Fate::cut;
  entry.parts.clear();
  entry.parts.push_back({&entry.header, header_size});
  slice(entry.chain.readable, header_size, size, entry.parts);
  return Fate::send;
}

/// Sends the first `count` entries; false when the link is full, and the rest went back to the ring.
bool NetSender::flush(unsigned count) {
  if (count == 0) return true;
  messages_.clear();
  for (unsigned i = 0; i < count; ++i) {
    if (entries_[i].fate == Fate::send) messages_.push_back(entries_[i].parts);
  }
  std::size_t sent = messages_.empty() ? 0 : link_.send(messages_);
  const u64 now = net_.rate_out_.limits() ? host::monotonic_ns() : 0;
  unsigned done = 0;
  for (; done < count; ++done) {
    if (entries_[done].fate == Fate::send && sent-- == 0) break;
    finish(entries_[done], now);
  }
  for (unsigned i = count; i > done; --i) net_.queue(queue_).unpop(entries_[i - 1].chain);
  if (done > 0) publish(done);
  return done == count;
}

/// The frame goes into memory of our own, where nobody changes it while it is being cut.
bool NetSender::begin_cut() {
  if (cutting_.fate == Fate::drop) return false;
  frame_.resize(cutting_.chain.readable_bytes - header_size);
  (void)cutting_.chain.read(header_size, frame_);
  begun_cut_ = false;
  return segmenter_.begin(cutting_.header, frame_);
}

/// Sends what is left of the packet that is being cut; false when the link is full.
bool NetSender::send_cut() {
  static constexpr net::Header plain{};
  while (segmenter_.active()) {
    std::array<iovec, 4> parts;
    std::size_t count = 0;
    parts[count++] = {const_cast<net::Header*>(&plain), header_size};
    for (const iovec& part : segmenter_.current()) parts[count++] = part;
    const net::Link::Message message(parts.data(), count);
    if (link_.send({&message, 1}) == 0) return false;
    begun_cut_ = true;
    segmenter_.advance();
  }
  finish(cutting_, host::monotonic_ns());
  publish(1);
  return true;
}

void NetSender::finish(const Entry& entry, u64 now) {
  if (entry.fate == Fate::drop) {
    dropped_.store(dropped() + 1, std::memory_order_relaxed);
  } else {
    packets_.store(packets() + 1, std::memory_order_relaxed);
    if (net_.rate_out_.limits()) net_.rate_out_.take(entry.chain.readable_bytes, now);
  }
  net_.queue(queue_).stage(entry.chain, 0);
}

/// Shows the driver what is done. It only wants its memory back, and looks for that whenever it sends: so it is interrupted
/// at most once in a while, unless it may run out of room.
void NetSender::publish(unsigned count) {
  Queue& ring = net_.queue(queue_);
  ring.publish();
  untold_ += count;
  const u64 now = host::monotonic_ns();
  if (untold_ >= ring.size() / 4u || now >= told_at_ + interrupt_gap_ns) {
    tell(now);
  } else if (tell_at_ == 0) {
    tell_at_ = told_at_ + interrupt_gap_ns;
  }
}

void NetSender::tell(u64 now) {
  untold_ = 0;
  tell_at_ = 0;
  told_at_ = now;
  net_.interrupt(queue_);
}

}  // namespace nagaya::virtio
