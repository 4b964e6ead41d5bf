// The one format of the interrupt controllers' saved state, whether the model is ours or in the kernel.
#pragma once
#include <array>

#include "state/archive.hpp"
#include "x86/irqchip_state.hpp"

namespace nagaya::chipset {

void put(state::Writer& out, const std::array<x86::PicState, 2>& state);
[[nodiscard]] std::array<x86::PicState, 2> get_pic(state::Reader& in);
void put(state::Writer& out, const x86::IoapicState& state);
[[nodiscard]] x86::IoapicState get_ioapic(state::Reader& in);
/// `apic_base` is IA32_APIC_BASE.
void put(state::Writer& out, const x86::LapicState& state, u64 apic_base);
[[nodiscard]] x86::LapicState get_lapic(state::Reader& in, u64& apic_base);

}  // namespace nagaya::chipset
