// What this host's KVM can show a guest, minus what the machine's saved state cannot carry.
#pragma once
#include <span>
#include <vector>

#include "base/result.hpp"
#include "x86/cpuid.hpp"

namespace nagaya::engine::kvm {

class System;

/// Facts of the host beyond KVM_GET_SUPPORTED_CPUID that decide about bits.
struct CpuidLimits {
  bool arch_capabilities = true;  ///< MSR 10Ah can be set
  bool hypercalls = true;         ///< VMCALL comes back
  bool cmpxchg16b = true;
  bool tsc_deadline = true;
};

/// KVM_GET_SUPPORTED_CPUID with `apply_limits`.
[[nodiscard]] Result<std::vector<x86::CpuidEntry>> supported_cpuid(const System& system, const CpuidLimits& limits);
/// Clears what must not be offered: features whose state x86::CpuState does not hold (nested virtualization, CET, AMX,
/// PMU, processor trace, MPX …) and what the host lacks.
void apply_limits(std::vector<x86::CpuidEntry>& table, const CpuidLimits& limits);
/// XCR0 bits that a table allows (3 where XSAVE is absent).
[[nodiscard]] u64 xcr0_of(std::span<const x86::CpuidEntry> table);
/// KVM_SET_CPUID2.
[[nodiscard]] Result<> set_cpuid(int vcpu_fd, std::span<const x86::CpuidEntry> table);

}  // namespace nagaya::engine::kvm
