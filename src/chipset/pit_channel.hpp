// One counter of the 8254 as a function of time: no timers, no threads. Times are ticks of 1193182 Hz.
#pragma once
#include <optional>

#include "base/types.hpp"
#include "x86/irqchip_state.hpp"

namespace nagaya::chipset {

/// Ticks since the clock's origin at `ns`, and the first nanosecond of a tick.
[[nodiscard]] i64 pit_ticks(i64 ns);
[[nodiscard]] i64 pit_ns(i64 ticks);

class PitChannel {
 public:
  /// State after power-on is undefined by the data sheet; ours is mode 3 with the count 65536, as firmware leaves it.
  void reset(i64 now, bool gate);
  void control_word(i64 now, u8 value);
  void latch_count(i64 now);
  void latch_status(i64 now);
  void write(i64 now, u8 value);
  [[nodiscard]] u8 read(i64 now);
  void set_gate(i64 now, bool level);
  [[nodiscard]] bool gate() const { return gate_; }
  [[nodiscard]] bool output(i64 now);
  /// The first tick after `after` at which the output rises, if nothing is written any more.
  [[nodiscard]] std::optional<i64> next_rise(i64 after);

  [[nodiscard]] x86::PitChannelState state(i64 now) const;
  /// `state` has been checked by valid().
  void set_state(i64 now, const x86::PitChannelState& state);
  [[nodiscard]] static bool valid(const x86::PitChannelState& state);

 private:
  enum Access : u8 { none, low, high, word_low, word_high };

  [[nodiscard]] bool counting() const;
  /// Ticks since the count was loaded; negative before the loading clock pulse.
  [[nodiscard]] i64 elapsed(i64 now) const { return frozen_ ? held_ : now - start_; }
  void set_elapsed(i64 now, i64 ticks);
  /// Takes over a count that waits for the end of the period.
  void settle(i64 now);
  void load(i64 now, u16 value);
  [[nodiscard]] u32 modulus() const { return bcd_ ? 10000 : 0x10000; }
  [[nodiscard]] u16 counter(i64 now);
  [[nodiscard]] u32 period() const { return count_ < 2 ? modulus() + count_ : count_; }

  u8 mode_ = 3;
  bool bcd_ = false, gate_ = true, null_count_ = false;
  u8 rw_ = word_low, read_state_ = word_low, write_state_ = word_low, write_latch_ = 0;
  u8 count_latched_ = none;
  bool status_latched_ = false;
  u16 latched_count_ = 0;
  u8 latched_status_ = 0;
  u32 count_ = 0x10000, reload_ = 0;
  i64 start_ = 0;
  bool frozen_ = false;
  i64 held_ = 0;
};

}  // namespace nagaya::chipset
