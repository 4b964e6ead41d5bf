// Saved state of the PC's interrupt controllers and timer: one format, whether the model is ours or in the kernel.
#pragma once
#include <array>

#include "base/types.hpp"

namespace nagaya::x86 {

/// One Intel 8259A.
struct PicState {
  u8 last_irr = 0, irr = 0, imr = 0, isr = 0, priority_add = 0, irq_base = 0, read_reg_select = 0, poll = 0,
     special_mask = 0, init_state = 0, auto_eoi = 0, rotate_on_auto_eoi = 0, special_fully_nested = 0, init4 = 0,
     elcr = 0, elcr_mask = 0;
  bool operator==(const PicState&) const = default;
};

/// 82093AA I/O APIC with 24 redirection entries.
struct IoapicState {
  u32 id = 0, ioregsel = 0, irr = 0;
  std::array<u64, 24> redirtbl{};
  bool operator==(const IoapicState&) const = default;
};

/// Local APIC: the 4 KiB register page (xAPIC layout, 32 bits at each 16-byte step) and what the page does not hold.
struct LapicState {
  std::array<u8, 1024> regs{};
  u64 tsc_deadline = 0;   ///< absolute guest TSC, 0 = disarmed
  u64 timer_remaining_ns = 0;  ///< of the one-shot/periodic count in progress, 0 = stopped
  bool operator==(const LapicState&) const = default;
};

/// One counter of the 8254. `read_state`, `write_state`, `rw_mode` and `count_latched`: 1 low byte, 2 high byte, 3 both
/// (low next), 4 both (high next), 0 none.
struct PitChannelState {
  u32 count = 0x10000;
  u16 latched_count = 0;
  u8 count_latched = 0, status_latched = 0, status = 0, read_state = 0, write_state = 0, write_latch = 0, rw_mode = 0,
     mode = 0, bcd = 0, gate = 0;
  u8 null_count = 0;   ///< a control word was written and no count since (not known by every engine's own PIT: 0 then)
  u32 reload = 0;      ///< a count written meanwhile, taken over at the next reload; 0 none (likewise)
  u64 elapsed_ns = 0;  ///< since the count was loaded; stands still while the gate forbids counting
  bool operator==(const PitChannelState&) const = default;
};
struct PitState {
  std::array<PitChannelState, 3> channel{};
  bool speaker_data_on = false;
  bool operator==(const PitState&) const = default;
};

}  // namespace nagaya::x86
