#include "machine/clock.hpp"

#include <limits>

namespace nagaya::machine {

class MachineClock::VirtualTimer final : public bus::Timer {
 public:
  VirtualTimer(MachineClock& clock, std::function<void()> callback)
      : clock_(clock), callback_(std::move(callback)), host_(clock.queue_, [this] { fire(); }) {
    const std::lock_guard lock(clock_.mutex_);
    clock_.timers_.insert(this);
  }
  ~VirtualTimer() override {
    const std::lock_guard lock(clock_.mutex_);
    clock_.timers_.erase(this);
    armed_ = false;
  }  // then host_ goes, waiting for a callback that runs

  void arm(u64 at_ns) override {
    const std::lock_guard lock(clock_.mutex_);
    at_ns_ = at_ns;
    armed_ = true;
    clock_.schedule(*this);
  }
  void cancel() override {
    const std::lock_guard lock(clock_.mutex_);
    armed_ = false;
    host_.cancel();
  }

 private:
  friend class MachineClock;
  void fire() {
    {
      const std::lock_guard lock(clock_.mutex_);
      // Cancelled, armed anew, or paused since the host's timer went off.
      if (!armed_ || clock_.paused_) return;
      if (clock_.now_locked() < at_ns_) return clock_.schedule(*this);
      armed_ = false;
    }
    callback_();
  }

  MachineClock& clock_;
  const std::function<void()> callback_;
  u64 at_ns_ = 0;       // guarded by clock_.mutex_
  bool armed_ = false;  // guarded by clock_.mutex_
  host::TimerQueue::Timer host_;
};

MachineClock::MachineClock() = default;
MachineClock::~MachineClock() = default;

u64 MachineClock::now_locked() const { return paused_ ? frozen_ns_ : host::monotonic_ns() - origin_ns_; }

u64 MachineClock::now_ns() const {
  const std::lock_guard lock(mutex_);
  return now_locked();
}

u64 MachineClock::wall_ns() const { return host::wall_clock_ns(); }

std::unique_ptr<bus::Timer> MachineClock::create_timer(std::function<void()> callback) {
  return std::make_unique<VirtualTimer>(*this, std::move(callback));
}

void MachineClock::schedule(VirtualTimer& timer) {
  if (paused_ || !timer.armed_) return;
  // origin_ns_ may be "negative" (a restored machine is older than its host): arithmetic modulo 2^64 is right as long
  // as the deadline is not so far away that it never comes.
  const u64 now = now_locked();
  const u64 wait = timer.at_ns_ > now ? timer.at_ns_ - now : 0;
  const u64 host_now = host::monotonic_ns();
  if (wait > std::numeric_limits<u64>::max() / 2 - host_now) return timer.host_.cancel();
  timer.host_.arm(host_now + wait);
}

void MachineClock::pause() {
  {
    const std::lock_guard lock(mutex_);
    if (paused_) return;
    frozen_ns_ = now_locked();
    paused_ = true;
    for (VirtualTimer* timer : timers_) timer->host_.cancel();
  }
  queue_.wait_idle();
}

void MachineClock::resume() {
  const std::lock_guard lock(mutex_);
  if (!paused_) return;
  origin_ns_ = host::monotonic_ns() - frozen_ns_;
  paused_ = false;
  for (VirtualTimer* timer : timers_) schedule(*timer);
}

void MachineClock::set_now(u64 ns) {
  const std::lock_guard lock(mutex_);
  if (paused_) frozen_ns_ = ns;
}

}  // namespace nagaya::machine
