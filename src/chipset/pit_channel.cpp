#include "chipset/pit_channel.hpp"

#include <algorithm>

#include "x86/pc_layout.hpp"

namespace nagaya::chipset {
namespace {

__extension__ using Wide = __int128;
constexpr Wide ns_per_s = 1'000'000'000;
constexpr Wide hz = x86::pc::pit_hz;
/// Longest time a saved state may claim: well inside 63 bits of nanoseconds.
constexpr u64 longest_ns = u64{1} << 61;

constexpr i64 floor_div(Wide a, Wide b) { return static_cast<i64>(a / b - (a % b < 0)); }

constexpr u32 from_bcd(u32 v) { return (v >> 12 & 15) * 1000 + (v >> 8 & 15) * 100 + (v >> 4 & 15) * 10 + (v & 15); }
constexpr u16 to_bcd(u32 v) {
  return static_cast<u16>(v / 1000 % 10 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10);
}

}  // namespace

i64 pit_ticks(i64 ns) { return floor_div(Wide{ns} * hz, ns_per_s); }
i64 pit_ns(i64 ticks) { return -floor_div(-Wide{ticks} * ns_per_s, hz); }  // rounded up

void PitChannel::reset(i64 now, bool gate) {
  *this = PitChannel{};
  gate_ = gate;
  start_ = now + 1;
  frozen_ = !counting();
}

bool PitChannel::counting() const {
  if (mode_ == 1 || mode_ == 5) return true;             // the gate only triggers
  if (mode_ == 0 && write_state_ == word_high) return false;  // half a count has been written
  return gate_;
}

void PitChannel::set_elapsed(i64 now, i64 ticks) {
  frozen_ = !counting();
  if (frozen_) {
    held_ = ticks;
  } else {
    start_ = now - ticks;
  }
}

void PitChannel::settle(i64 now) {
  if (reload_ == 0 || (mode_ != 2 && mode_ != 3)) return;
  const i64 d = elapsed(now);
  if (d < static_cast<i64>(period())) return;
  const i64 over = d - period();
  count_ = reload_;
  reload_ = 0;
  set_elapsed(now, over);
}

void PitChannel::control_word(i64 now, u8 value) {
  const u8 access = value >> 4 & 3;
  if (access == 0) return latch_count(now);
  rw_ = read_state_ = write_state_ = access;
  mode_ = value >> 1 & 7;
  if (mode_ > 5) mode_ &= 3;  // 6 and 7 are 2 and 3
  bcd_ = value & 1;
  count_ = std::min(count_, modulus());
  null_count_ = true;
  reload_ = 0;
  count_latched_ = none;
  status_latched_ = false;
  set_elapsed(now, 0);
}

void PitChannel::latch_count(i64 now) {
  if (count_latched_ != none) return;  // the first latch holds until read
  latched_count_ = counter(now);
  count_latched_ = rw_;
}

void PitChannel::latch_status(i64 now) {
  if (status_latched_) return;
  latched_status_ = static_cast<u8>(output(now) << 7 | (null_count_ || reload_) << 6 | rw_ << 4 | mode_ << 1 | bcd_);
  status_latched_ = true;
}

void PitChannel::write(i64 now, u8 value) {
  settle(now);
  switch (write_state_) {
    case low: load(now, value); break;
    case high: load(now, static_cast<u16>(value << 8)); break;
    case word_low: {
      // In mode 0 the first byte stops the count (and the output is low) until the second has come.
      const i64 d = elapsed(now);
      write_latch_ = value;
      write_state_ = word_high;
      if (mode_ == 0) {
        null_count_ = true;
        set_elapsed(now, d);
      }
      break;
    }
    default:
      write_state_ = word_low;
      load(now, static_cast<u16>(value << 8 | write_latch_));
      break;
  }
}

void PitChannel::load(i64 now, u16 value) {
  u32 count = bcd_ ? from_bcd(value) % 10000 : value;
  if (count == 0) count = modulus();
  const bool first = null_count_;
  null_count_ = false;
  if (!first && (mode_ == 2 || mode_ == 3)) {  // a running square wave or rate generator finishes its period
    // Begin counting periods anew from the present one, so that settle() sees its end.
    const i64 d = elapsed(now);
    if (d > 0) set_elapsed(now, d % period());
    reload_ = count;
    return;
  }
  if (mode_ == 1 || mode_ == 5) {
    if (first) {  // waits for its trigger: as if it had run out long ago
      count_ = count;
      set_elapsed(now, i64{modulus()} * 2);
    } else if (elapsed(now) >= static_cast<i64>(count_) + 1) {
      count_ = count;
      set_elapsed(now, i64{modulus()} * 2);
    } else {
      reload_ = count;
    }
    return;
  }
  count_ = count;
  set_elapsed(now, -1);  // loaded by the next clock pulse
}

void PitChannel::set_gate(i64 now, bool level) {
  if (level == gate_) return;
  settle(now);
  const i64 d = elapsed(now);
  gate_ = level;
  if (mode_ == 1 || mode_ == 5) {
    if (!level || null_count_) return;
    if (reload_) count_ = reload_;
    reload_ = 0;
    set_elapsed(now, -1);
  } else if ((mode_ == 2 || mode_ == 3) && level) {  // a rising gate begins a new period
    if (reload_) count_ = reload_;
    reload_ = 0;
    set_elapsed(now, -1);
  } else {
    set_elapsed(now, d);
  }
}

u16 PitChannel::counter(i64 now) {
  settle(now);
  const i64 d = elapsed(now) < 0 ? 0 : elapsed(now);
  const i64 n = count_;
  i64 value = 0;
  switch (mode_) {
    case 2: value = n - d % period(); break;
    case 3: {
      // Counts down by two, twice per period; an odd count makes the high half one tick longer.
      const i64 at = d % period(), high = (period() + 1) / 2;
      value = (n & ~i64{1}) - 2 * (at < high ? at : at - high);
      break;
    }
    default: value = n - d; break;
  }
  const i64 m = modulus();
  value = (value % m + m) % m;
  return bcd_ ? to_bcd(static_cast<u32>(value)) : static_cast<u16>(value);
}

u8 PitChannel::read(i64 now) {
  if (status_latched_) {
    status_latched_ = false;
    return latched_status_;
  }
  if (count_latched_ != none) {
    switch (count_latched_) {
      case low: count_latched_ = none; return static_cast<u8>(latched_count_);
      case word_low: count_latched_ = high; return static_cast<u8>(latched_count_);
      default: count_latched_ = none; return static_cast<u8>(latched_count_ >> 8);
    }
  }
  const u16 value = counter(now);
  switch (read_state_) {
    case high: return static_cast<u8>(value >> 8);
    case word_low: read_state_ = word_high; return static_cast<u8>(value);
    case word_high: read_state_ = word_low; return static_cast<u8>(value >> 8);
    default: return static_cast<u8>(value);
  }
}

bool PitChannel::output(i64 now) {
  settle(now);
  if (null_count_) return mode_ != 0;
  const i64 d = elapsed(now);
  if (d < 0) return mode_ != 0;
  const i64 n = count_;
  switch (mode_) {
    case 0:
    case 1: return d >= n;
    case 2: return !gate_ || d % period() != static_cast<i64>(period()) - 1;
    case 3: return !gate_ || d % period() < (static_cast<i64>(period()) + 1) / 2;
    default: return d != n;  // 4 and 5: low for one tick
  }
}

std::optional<i64> PitChannel::next_rise(i64 after) {
  settle(after);
  if (null_count_ || frozen_) return std::nullopt;
  const i64 d = elapsed(after), n = count_;
  i64 rise = 0;
  switch (mode_) {
    case 0:
    case 1: rise = n; break;
    case 2:
    case 3: rise = d < 0 ? period() : (d / period() + 1) * period(); break;
    default: rise = n + 1; break;
  }
  if (rise <= d) return std::nullopt;
  return after + (rise - d);
}

x86::PitChannelState PitChannel::state(i64 now) const {
  x86::PitChannelState s;
  s.count = count_;
  s.latched_count = latched_count_;
  s.count_latched = count_latched_;
  s.status_latched = status_latched_;
  s.status = latched_status_;
  s.read_state = read_state_;
  s.write_state = write_state_;
  s.write_latch = write_latch_;
  s.rw_mode = rw_;
  s.mode = mode_;
  s.bcd = bcd_;
  s.gate = gate_;
  s.null_count = null_count_;
  s.reload = reload_;
  // A count written within the last tick has not been loaded; it counts as loaded now (one tick early).
  s.elapsed_ns = static_cast<u64>(std::max<i64>(pit_ns(elapsed(now)), 0));
  return s;
}

bool PitChannel::valid(const x86::PitChannelState& s) {
  const u32 modulus = s.bcd ? 10000 : 0x10000;
  return s.mode <= 5 && s.bcd <= 1 && s.gate <= 1 && s.null_count <= 1 && s.status_latched <= 1 && s.count_latched <= 3 &&
         s.rw_mode >= 1 && s.rw_mode <= 3 && s.read_state >= 1 && s.read_state <= 4 && s.write_state >= 1 &&
         s.write_state <= 4 && s.count >= 1 && s.count <= modulus && s.reload <= modulus && s.elapsed_ns <= longest_ns;
}

void PitChannel::set_state(i64 now, const x86::PitChannelState& s) {
  count_ = s.count;
  latched_count_ = s.latched_count;
  count_latched_ = s.count_latched;
  status_latched_ = s.status_latched;
  latched_status_ = s.status;
  read_state_ = s.read_state;
  write_state_ = s.write_state;
  write_latch_ = s.write_latch;
  rw_ = s.rw_mode;
  mode_ = s.mode;
  bcd_ = s.bcd;
  gate_ = s.gate;
  null_count_ = s.null_count;
  reload_ = s.reload;
  set_elapsed(now, pit_ticks(static_cast<i64>(s.elapsed_ns)));
}

}  // namespace nagaya::chipset
