#include "engine/kvm/convert_irqchip.hpp"

#include <algorithm>
#include <cstring>

#include "x86/cpuid.hpp"
#include "x86/pc_layout.hpp"

namespace nagaya::engine::kvm {
namespace {

// Intel SDM vol. 3, 11.5.4 (APIC timer).
constexpr std::size_t lvt_timer_at = 0x320, initial_count_at = 0x380, current_count_at = 0x390, divide_at = 0x3e0;

u32 reg(const x86::LapicState& state, std::size_t at) {
  u32 value;
  std::memcpy(&value, state.regs.data() + at, sizeof value);
  return value;
}

// Nanoseconds of one timer tick: the divider's code is bits 3,1:0, its value 2, 4 … 128, 1.
u64 tick_ns(const x86::LapicState& state) {
  const u32 code = reg(state, divide_at);
  const u32 shift = ((code & 3) | (code >> 1 & 4)) + 1;
  return (u64{1} << (shift & 7)) * (1'000'000'000 / x86::apic_bus_hz);
}

bool counts_down(const x86::LapicState& state) { return (reg(state, lvt_timer_at) >> 17 & 3) < 2; }

}  // namespace

kvm_pic_state to_kvm(const x86::PicState& in) {
  kvm_pic_state out{};
  out.last_irr = in.last_irr;
  out.irr = in.irr;
  out.imr = in.imr;
  out.isr = in.isr;
  out.priority_add = in.priority_add;
  out.irq_base = in.irq_base;
  out.read_reg_select = in.read_reg_select;
  out.poll = in.poll;
  out.special_mask = in.special_mask;
  out.init_state = in.init_state;
  out.auto_eoi = in.auto_eoi;
  out.rotate_on_auto_eoi = in.rotate_on_auto_eoi;
  out.special_fully_nested_mode = in.special_fully_nested;
  out.init4 = in.init4;
  out.elcr = in.elcr;
  out.elcr_mask = in.elcr_mask;
  return out;
}

x86::PicState from_kvm(const kvm_pic_state& in) {
  x86::PicState out;
  out.last_irr = in.last_irr;
  out.irr = in.irr;
  out.imr = in.imr;
  out.isr = in.isr;
  out.priority_add = in.priority_add;
  out.irq_base = in.irq_base;
  out.read_reg_select = in.read_reg_select;
  out.poll = in.poll;
  out.special_mask = in.special_mask;
  out.init_state = in.init_state;
  out.auto_eoi = in.auto_eoi;
  out.rotate_on_auto_eoi = in.rotate_on_auto_eoi;
  out.special_fully_nested = in.special_fully_nested_mode;
  out.init4 = in.init4;
  out.elcr = in.elcr;
  out.elcr_mask = in.elcr_mask;
  return out;
}

kvm_ioapic_state to_kvm(const x86::IoapicState& in) {
  kvm_ioapic_state out{};
  out.base_address = x86::pc::ioapic_base;
  out.id = in.id;
  out.ioregsel = in.ioregsel;
  out.irr = in.irr;
  for (std::size_t i = 0; i < in.redirtbl.size(); ++i) out.redirtbl[i].bits = in.redirtbl[i];
  return out;
}

x86::IoapicState from_kvm(const kvm_ioapic_state& in) {
  x86::IoapicState out;
  out.id = in.id;
  out.ioregsel = in.ioregsel;
  out.irr = in.irr;
  for (std::size_t i = 0; i < out.redirtbl.size(); ++i) out.redirtbl[i] = in.redirtbl[i].bits;
  return out;
}

kvm_pit_state2 to_kvm(const x86::PitState& in, u64 now_ns) {
  kvm_pit_state2 out{};
  for (std::size_t i = 0; i < in.channel.size(); ++i) {
    const x86::PitChannelState& from = in.channel[i];
    kvm_pit_channel_state& to = out.channels[i];
    to.count = std::clamp<u32>(from.count, 1, 0x10000);
    to.latched_count = from.latched_count;
    to.count_latched = from.count_latched;
    to.status_latched = from.status_latched;
    to.status = from.status;
    to.read_state = from.read_state;
    to.write_state = from.write_state;
    to.write_latch = from.write_latch;
    to.rw_mode = from.rw_mode;
    to.mode = from.mode;
    to.bcd = from.bcd;
    to.gate = from.gate;
    to.count_load_time = static_cast<i64>(now_ns - std::min(now_ns, from.elapsed_ns));
  }
  out.flags = in.speaker_data_on ? KVM_PIT_FLAGS_SPEAKER_DATA_ON : 0;
  return out;
}

x86::PitState from_kvm(const kvm_pit_state2& in, u64 now_ns) {
  x86::PitState out;
  for (std::size_t i = 0; i < out.channel.size(); ++i) {
    const kvm_pit_channel_state& from = in.channels[i];
    x86::PitChannelState& to = out.channel[i];
    // Counters nobody has programmed yet have mode FFh in KVM; a PC's firmware leaves mode 3, low byte then high byte.
    constexpr u8 square_wave = 3, low_then_high = 3;
    if (from.mode > 5) {
      to = {.read_state = low_then_high,
            .write_state = low_then_high,
            .rw_mode = low_then_high,
            .mode = square_wave,
            .gate = from.gate};
      continue;
    }
    to.count = std::clamp<u32>(from.count, 1, from.bcd ? 10000 : 0x10000);
    to.latched_count = from.latched_count;
    to.count_latched = from.count_latched;
    to.status_latched = from.status_latched;
    to.status = from.status;
    to.read_state = from.read_state;
    to.write_state = from.write_state;
    to.write_latch = from.write_latch;
    to.rw_mode = from.rw_mode;
    to.mode = from.mode;
    to.bcd = from.bcd;
    to.gate = from.gate;
    const u64 loaded = from.count_load_time < 0 ? 0 : static_cast<u64>(from.count_load_time);
    // KVM drives channel 0 by a host timer and does not keep its load time: it starts anew.
    to.elapsed_ns = i == 0 || loaded > now_ns ? 0 : now_ns - loaded;
  }
  out.speaker_data_on = in.flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON;
  return out;
}

kvm_lapic_state to_kvm(const x86::LapicState& in) {
  kvm_lapic_state out{};
  static_assert(sizeof out.regs == sizeof in.regs);
  std::memcpy(out.regs, in.regs.data(), sizeof out.regs);
  if (counts_down(in)) {
    // KVM continues from the current-count register.
    const u64 count = std::min<u64>((in.timer_remaining_ns + tick_ns(in) - 1) / tick_ns(in), reg(in, initial_count_at));
    const u32 narrow = static_cast<u32>(count);
    std::memcpy(out.regs + current_count_at, &narrow, sizeof narrow);
  }
  return out;
}

x86::LapicState from_kvm(const kvm_lapic_state& in) {
  x86::LapicState out;
  std::memcpy(out.regs.data(), in.regs, sizeof in.regs);
  if (counts_down(out)) out.timer_remaining_ns = reg(out, current_count_at) * tick_ns(out);
  return out;
}

}  // namespace nagaya::engine::kvm
