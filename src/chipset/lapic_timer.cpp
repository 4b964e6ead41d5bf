// The local APIC's timer (Intel SDM vol. 3, 11.5.4). It counts a bus clock of 1 GHz, so that one tick before division
// is one nanosecond of virtual time.
#include <algorithm>

#include "chipset/lapic.hpp"
#include "chipset/lapic_layout.hpp"

namespace nagaya::chipset {
namespace {

__extension__ using u128 = unsigned __int128;

constexpr u64 second = 1'000'000'000;
/// A periodic timer interrupts the host no more often, whatever the guest programs; its count still tells true time.
constexpr u64 least_period_ns = 50'000;
/// The longest wait for a deadline before looking at the TSC again.
constexpr u64 longest_wait_ns = 3600 * second;

}  // namespace

/// Nanoseconds of one count: the divider, 1 to 128.
u64 Lapic::tick_ns() const { return u64{1} << ((((divide_ & 3) | (divide_ >> 1 & 4)) + 1) & 7); }

u32 Lapic::count_of(u64 ns) const {
  return static_cast<u32>(std::min<u64>((ns + tick_ns() - 1) / tick_ns(), initial_count_));
}

/// Until the count in progress expires; 1 when it has but the timer has not been heard yet.
u64 Lapic::remaining_ns() const {
  if (!counting_) return 0;
  const u64 now = clock_.now_ns();
  return target_ns_ > now ? target_ns_ - now : 1;
}

u32 Lapic::current_count() const {
  if (!counting_) return 0;
  const u64 now = clock_.now_ns();
  if (target_ns_ > now) return count_of(target_ns_ - now);
  if (mode_of(lvt_[lvt_timer]) != TimerMode::periodic) return 0;
  const u64 period = initial_count_ * tick_ns();
  return count_of(period - (now - target_ns_) % period);
}

void Lapic::stop_timer() {
  counting_ = false;
  initial_count_ = 0;
  deadline_ = 0;
  arm();
}

void Lapic::start_count(u32 count) {
  if (mode_of(lvt_[lvt_timer]) == TimerMode::tsc_deadline) return;
  initial_count_ = count;
  counting_ = count != 0;
  target_ns_ = clock_.now_ns() + count * tick_ns();
  arm();
}

/// The count goes on from where it is, at the new speed.
void Lapic::change_divide(u32 value) {
  const u32 left = current_count();
  divide_ = value;
  if (!counting_) return;
  target_ns_ = clock_.now_ns() + left * tick_ns();
  arm();
}

/// Going to or from TSC-deadline mode disarms; one-shot and periodic share their count.
void Lapic::change_timer_mode(u32 lvt) {
  const TimerMode from = mode_of(lvt_[lvt_timer]), to = mode_of(lvt);
  if (from != to && std::max(from, to) >= TimerMode::tsc_deadline) stop_timer();
}

void Lapic::set_deadline(u64 deadline, After& after) {
  if (mode_of(lvt_[lvt_timer]) != TimerMode::tsc_deadline) return;
  deadline_ = deadline;
  if (deadline && guest_tsc() >= deadline) {
    deadline_ = 0;
    deliver_local(lvt_timer, after);
  }
  arm();
}

void Lapic::arm() {
  if (paused_) return;
  if (deadline_) {
    const u64 tsc = guest_tsc();
    const u64 cycles = deadline_ > tsc ? deadline_ - tsc : 0;
    // config_.tsc_hz is not 0: else no deadline could have been set.
    const u128 ns = (static_cast<u128>(cycles) * second + config_.tsc_hz - 1) / config_.tsc_hz;
    timer_->arm(clock_.now_ns() + static_cast<u64>(std::min<u128>(ns, longest_wait_ns)));
  } else if (counting_) {
    timer_->arm(target_ns_);
  } else {
    timer_->cancel();
  }
}

// The callback may be a late one of an arm that was replaced: it looks at the state alone.
void Lapic::timer_fired() {
  After after;
  {
    std::lock_guard lock(mutex_);
    if (paused_) return;
    const u64 now = clock_.now_ns();
    if (deadline_) {
      if (guest_tsc() >= deadline_) {
        deadline_ = 0;
        deliver_local(lvt_timer, after);
      } else {
        arm();  // the virtual clock and the TSC drifted apart: too early
      }
    } else if (counting_ && now < target_ns_) {
      arm();
    } else if (counting_) {
      deliver_local(lvt_timer, after);
      if (mode_of(lvt_[lvt_timer]) == TimerMode::periodic && counting_) {
        const u64 period = initial_count_ * tick_ns();
        target_ns_ += ((now - target_ns_) / period + 1) * period;
        timer_->arm(std::max(target_ns_, now + least_period_ns));
      } else {
        counting_ = false;
      }
    }
    update(after);
  }
  finish(after);
}

void Lapic::set_tsc_offset(u64 offset) {
  std::lock_guard lock(mutex_);
  tsc_offset_ = offset;
  if (deadline_) arm();
}

void Lapic::pause() {
  std::lock_guard lock(mutex_);
  paused_ = true;
  timer_->cancel();
}

void Lapic::resume() {
  std::lock_guard lock(mutex_);
  paused_ = false;
  arm();
}

}  // namespace nagaya::chipset
