#include "chipset/irqchip_archive.hpp"

namespace nagaya::chipset {
namespace {

// One order of the fields for both directions.
template <class Chip, class F>
void each_field(Chip& c, F f) {
  for (auto* field :
       {&c.last_irr, &c.irr, &c.imr, &c.isr, &c.priority_add, &c.irq_base, &c.read_reg_select, &c.poll, &c.special_mask,
        &c.init_state, &c.auto_eoi, &c.rotate_on_auto_eoi, &c.special_fully_nested, &c.init4, &c.elcr, &c.elcr_mask}) {
    f(*field);
  }
}

}  // namespace

void put(state::Writer& out, const std::array<x86::PicState, 2>& state) {
  for (const auto& chip : state) each_field(chip, [&](const u8& field) { out.put(field); });
}

std::array<x86::PicState, 2> get_pic(state::Reader& in) {
  std::array<x86::PicState, 2> state;
  for (auto& chip : state) each_field(chip, [&](u8& field) { in.get(field); });
  return state;
}

void put(state::Writer& out, const x86::IoapicState& state) {
  out.put(state.id);
  out.put(state.ioregsel);
  out.put(state.irr);
  for (u64 entry : state.redirtbl) out.put(entry);
}

x86::IoapicState get_ioapic(state::Reader& in) {
  x86::IoapicState state;
  in.get(state.id);
  in.get(state.ioregsel);
  in.get(state.irr);
  for (u64& entry : state.redirtbl) in.get(entry);
  return state;
}

void put(state::Writer& out, const x86::LapicState& state, u64 apic_base) {
  out.put_bytes(state.regs);
  out.put(state.tsc_deadline);
  out.put(state.timer_remaining_ns);
  out.put(apic_base);
}

x86::LapicState get_lapic(state::Reader& in, u64& apic_base) {
  x86::LapicState state;
  in.get_bytes(state.regs);
  in.get(state.tsc_deadline);
  in.get(state.timer_remaining_ns);
  in.get(apic_base);
  return state;
}

}  // namespace nagaya::chipset
