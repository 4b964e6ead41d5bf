// Between x86::CpuState and the structures of the KVM interface. Pure functions.
#pragma once
#include <linux/kvm.h>

#include <span>

#include "base/result.hpp"
#include "x86/cpu_state.hpp"

namespace nagaya::engine::kvm {

void to_kvm(const x86::CpuState& state, kvm_regs& out);
void from_kvm(const kvm_regs& in, x86::CpuState& state);

/// Segments, tables, control registers, EFER, APIC base. No pending interrupt.
void to_kvm(const x86::CpuState& state, kvm_sregs& out);
void from_kvm(const kvm_sregs& in, x86::CpuState& state);

void to_kvm(const x86::CpuState& state, kvm_debugregs& out);
void from_kvm(const kvm_debugregs& in, x86::CpuState& state);

/// Error when the pending exception is no exception.
[[nodiscard]] Result<> to_kvm(const x86::CpuState& state, kvm_vcpu_events& out);
void from_kvm(const kvm_vcpu_events& in, x86::CpuState& state);

/// The XSAVE image in the standard format. `image` is KVM's (4096 bytes or more). Components outside `components` (a
/// mask as XCR0) are left out; x87 and SSE are always there, with their initial values where the image says "initial".
void xsave_to_kvm(const x86::CpuState& state, u64 components, std::span<u8> image);
void xsave_from_kvm(std::span<const u8> image, u64 components, x86::CpuState& state);
/// Components (as XCR0) that `state` holds in other than their initial configuration, beyond x87 and SSE.
[[nodiscard]] u64 xsave_in_use(const x86::CpuState& state);

[[nodiscard]] kvm_mp_state to_kvm(x86::RunState run_state);
[[nodiscard]] x86::RunState from_kvm(const kvm_mp_state& in);

}  // namespace nagaya::engine::kvm
