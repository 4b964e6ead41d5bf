// For tests: a clock turned by hand, and an interrupt sink that remembers what it was told.
#pragma once
#include <map>
#include <mutex>
#include <vector>

#include "bus/irq.hpp"
#include "bus/timer.hpp"

namespace nagaya::bus::testing {

/// Time moves only in advance(), which runs the callbacks that come due, in order, on the caller's thread.
class ManualClock final : public Clock {
 public:
  [[nodiscard]] u64 now_ns() const override {
    std::lock_guard lock(mutex_);
    return now_;
  }
  [[nodiscard]] u64 wall_ns() const override {
    std::lock_guard lock(mutex_);
    return wall_ + now_;
  }
  /// Wall clock at virtual time 0.
  void set_wall(u64 ns) { wall_ = ns; }
  [[nodiscard]] std::unique_ptr<Timer> create_timer(std::function<void()> callback) override {
    auto timer = std::make_unique<ManualTimer>(*this, std::move(callback));
    std::lock_guard lock(mutex_);
    timers_.push_back(timer.get());
    return timer;
  }

  void advance(u64 ns) {
    std::unique_lock lock(mutex_);
    const u64 end = now_ + ns;
    for (;;) {
      ManualTimer* next = nullptr;
      for (ManualTimer* timer : timers_) {
        if (timer->armed && timer->at <= end && (!next || timer->at < next->at)) next = timer;
      }
      if (!next) break;
      if (next->at > now_) now_ = next->at;
      next->armed = false;
      lock.unlock();
      next->callback();
      lock.lock();
    }
    now_ = end;
  }
  /// How many timers are armed.
  [[nodiscard]] unsigned armed() const {
    std::lock_guard lock(mutex_);
    unsigned count = 0;
    for (const ManualTimer* timer : timers_) count += timer->armed;
    return count;
  }

 private:
  struct ManualTimer final : Timer {
    ManualTimer(ManualClock& owner, std::function<void()> f) : clock(owner), callback(std::move(f)) {}
    ~ManualTimer() override {
      std::lock_guard lock(clock.mutex_);
      std::erase(clock.timers_, this);
    }
    void arm(u64 at_ns) override {
      std::lock_guard lock(clock.mutex_);
      at = at_ns;
      armed = true;
    }
    void cancel() override {
      std::lock_guard lock(clock.mutex_);
      armed = false;
    }
    ManualClock& clock;
    std::function<void()> callback;
    u64 at = 0;
    bool armed = false;
  };
  mutable std::mutex mutex_;
  u64 now_ = 0, wall_ = 0;
  std::vector<ManualTimer*> timers_;
};

/// Levels of lines, counted rising edges, and messages.
class RecordingSink final : public IrqSink {
 public:
  struct Message {
    u64 address;
    u32 data;
    bool operator==(const Message&) const = default;
  };
  void set_line(unsigned gsi, bool level) override {
    if (level && !lines[gsi]) ++edges[gsi];
    lines[gsi] = level;
  }
  void send_msi(u64 address, u32 data) override { messages.push_back({address, data}); }

  std::map<unsigned, bool> lines;
  std::map<unsigned, unsigned> edges;
  std::vector<Message> messages;
};

}  // namespace nagaya::bus::testing
