#include "virtio/net/pair.hpp"

#include <poll.h>

#include <algorithm>
#include <ctime>

#include "host/thread.hpp"
#include "host/timer_queue.hpp"
#include "virtio/net/net.hpp"

namespace nagaya::virtio {

NetPair::NetPair(Net& net, unsigned index, std::unique_ptr<net::Link> link, host::Fd wake)
    : net_(net),
      link_(std::move(link)),
      wake_(std::move(wake)),
      receiver_(net, 2 * index, *link_),
      sender_(net, 2 * index + 1, *link_),
      thread_(host::start_thread("virtio-net", [this] { run(); })) {}

NetPair::~NetPair() {
  {
    std::lock_guard lock(mutex_);
    end_ = true;
    going_ = false;
  }
  host::signal_eventfd(wake_.get());
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void NetPair::kick() { host::signal_eventfd(wake_.get()); }

void NetPair::go() {
  {
    std::lock_guard lock(mutex_);
    going_ = true;
  }
  changed_.notify_all();
}

void NetPair::halt() {
  std::unique_lock lock(mutex_);
  going_ = false;
  host::signal_eventfd(wake_.get());
  idle_.wait(lock, [this] { return !busy_; });
}

void NetPair::offloads_changed() {
  offloads_due_ = true;
  kick();
}

void NetPair::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return end_ || going_; });
    if (end_) return;
    busy_ = true;
    lock.unlock();
    work();
    lock.lock();
    busy_ = false;
    idle_.notify_all();
  }
}

void NetPair::work() {
  receiver_.begin();
  sender_.begin();
  offloads_due_ = true;
  while (going_) {
    // What made no sense is left alone until the driver resets, and that halts us.
    if (!net_.sound()) {
      sleep(0, 0);
      continue;
    }
    bool tell_waits = false;
    if (offloads_due_.exchange(false) && !link_->tell_offloads(net_.receive_offloads())) offloads_due_ = tell_waits = true;
    const NetWait tx = sender_.round(going_), rx = receiver_.round(going_);
    if (link_->closed() && !lost_) {
      lost_ = true;
      net_.link_lost();
    }
    if (tx == NetWait::nothing || rx == NetWait::nothing || !net_.sound()) continue;
    // Only now does the driver have to tell: while there is work, we come by anyway.
    const bool sent_more = tx == NetWait::ring && sender_.arm();
    const bool room_more = rx == NetWait::ring && receiver_.arm();
    if (sent_more || room_more) continue;
    short events = 0;
    if (rx == NetWait::link) events |= POLLIN;
    if (tx == NetWait::link || tell_waits) events |= POLLOUT;
    const u64 times[] = {sender_.wake_at(), receiver_.wake_at()};
    sleep(events, times[0] == 0 || times[1] == 0 ? times[0] + times[1] : std::min(times[0], times[1]));
  }
  sender_.end();
  receiver_.end();
}

/// Until someone kicks, the link shows one of `events`, or it is time `until` (0: no limit).
void NetPair::sleep(short events, u64 until) {
  // A descriptor that nothing is wanted of would still wake us with its hang-up, for ever.
  pollfd watched[] = {{wake_.get(), POLLIN, 0}, {events == 0 || link_->closed() ? -1 : link_->fd(), events, 0}};
  timespec limit{};
  if (until != 0) {
    const u64 now = host::monotonic_ns(), left = until > now ? until - now : 0;
    limit = {static_cast<time_t>(left / 1'000'000'000), static_cast<long>(left % 1'000'000'000)};
  }
  if (::ppoll(watched, 2, until != 0 ? &limit : nullptr, nullptr) > 0 && watched[0].revents != 0) (void)host::drain_eventfd(wake_.get());
}

}  // namespace nagaya::virtio
