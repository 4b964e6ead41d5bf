// Saving and restoring the local APIC: its page, and what the page does not hold.
#include <fmt/format.h>

#include "bus/bytes.hpp"
#include "chipset/irqchip_archive.hpp"
#include "chipset/lapic.hpp"
#include "chipset/lapic_layout.hpp"

namespace nagaya::chipset {

using namespace apic;

x86::LapicState Lapic::state() const {
  std::lock_guard lock(mutex_);
  x86::LapicState state;
  auto put = [&](u32 offset, u32 value) { bus::store_le(std::span(state.regs).subspan(offset, 4), value); };
  for (u32 offset = 0; offset < state.regs.size(); offset += 16) {
    u32 value = 0;
    if (read_register(offset, value)) put(offset, value);
  }
  const u64 remaining = remaining_ns();
  put(reg_icr_high, icr_high_);
  put(reg_dfr, dfr_);
  put(reg_current_count, count_of(remaining));
  state.tsc_deadline = deadline_;
  state.timer_remaining_ns = remaining;
  return state;
}

u64 Lapic::apic_base() const {
  std::lock_guard lock(mutex_);
  return base_;
}

bool Lapic::set_state(const x86::LapicState& state, u64 apic_base) {
  After after;
  {
    std::lock_guard lock(mutex_);
    if (!valid_base(apic_base)) return false;
    auto get = [&](u32 offset) { return static_cast<u32>(bus::load_le(std::span(state.regs).subspan(offset, 4))); };
    base_ = apic_base;
    clear_registers(false);
    // An x2APIC's ids cannot be other than they are.
    xapic_id_ = static_cast<u8>(x2apic() ? config_.id : get(reg_id) >> 24);
    xapic_ldr_ = static_cast<u8>(x2apic() ? 0 : get(reg_ldr) >> 24);
    dfr_ = get(reg_dfr) | 0x0fff'ffff;
    tpr_ = static_cast<u8>(get(reg_tpr));
    svr_ = get(reg_svr) & svr_defined;
    esr_ = get(reg_esr) & (error_send_vector | error_receive_vector | error_register);
    icr_low_ = get(reg_icr) & 0x000c'cfff;
    icr_high_ = get(reg_icr_high);
    for (u32 i = 0; i < lvt_count; ++i) {
      lvt_[i] = get(reg_lvt + 16 * i) & lvt_mask(static_cast<Lvt>(i)) & ~lvt_status;
    }
    for (u32 i = 0; i < 8; ++i) {
      isr_.words[i] = get(reg_isr + 16 * i);
      tmr_.words[i] = get(reg_tmr + 16 * i);
      irr_.words[i] = get(reg_irr + 16 * i);
    }
    for (VectorSet* set : {&isr_, &irr_, &tmr_}) set->words[0] &= 0xffff'0000;  // vectors below 16 are no interrupts
    divide_ = get(reg_divide) & divide_defined;
    if (mode_of(lvt_[lvt_timer]) == TimerMode::tsc_deadline) {
      deadline_ = state.tsc_deadline;
    } else if (mode_of(lvt_[lvt_timer]) != TimerMode::reserved) {
      initial_count_ = get(reg_initial_count);
      // An engine that does not tell nanoseconds has left the count in the page.
      u64 remaining = state.timer_remaining_ns;
      if (remaining == 0) remaining = get(reg_current_count) * tick_ns();
      counting_ = remaining != 0 && initial_count_ != 0;
      target_ns_ = clock_.now_ns() + std::min(remaining, initial_count_ * tick_ns());
    }
    arm();
    publish();
    update(after);
  }
  finish(after);
  return true;
}

void Lapic::save(state::Writer& out) const { put(out, state(), apic_base()); }

Result<> Lapic::restore(state::Reader& in) {
  u64 base = 0;
  const auto state = get_lapic(in, base);
  auto result = in.finish();
  if (result && !set_state(state, base)) {
    result = fail(fmt::format("cannot restore {}", name_), fmt::format("APIC base {:#x} makes no sense", base));
  }
  if (!result) reset();
  return result;
}

}  // namespace nagaya::chipset
