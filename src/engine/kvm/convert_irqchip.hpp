// Between the saved state of the interrupt controllers and timer and the structures of the KVM interface.
#pragma once
#include <linux/kvm.h>

#include "x86/irqchip_state.hpp"

namespace nagaya::engine::kvm {

[[nodiscard]] kvm_pic_state to_kvm(const x86::PicState& in);
[[nodiscard]] x86::PicState from_kvm(const kvm_pic_state& in);

[[nodiscard]] kvm_ioapic_state to_kvm(const x86::IoapicState& in);
[[nodiscard]] x86::IoapicState from_kvm(const kvm_ioapic_state& in);

/// `now_ns`: the host's monotonic clock, in which KVM tells when a count was loaded.
[[nodiscard]] kvm_pit_state2 to_kvm(const x86::PitState& in, u64 now_ns);
[[nodiscard]] x86::PitState from_kvm(const kvm_pit_state2& in, u64 now_ns);

/// The register page and the count in progress; the TSC deadline travels as an MSR.
[[nodiscard]] kvm_lapic_state to_kvm(const x86::LapicState& in);
[[nodiscard]] x86::LapicState from_kvm(const kvm_lapic_state& in);

}  // namespace nagaya::engine::kvm
