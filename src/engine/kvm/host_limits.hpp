// What this host's KVM advertises but does not do, found by trying it once per process.
#pragma once
#include "base/result.hpp"
#include "engine/kvm/cpuid.hpp"

namespace nagaya::engine::kvm {

class System;

struct HostLimits {
  CpuidLimits cpuid;
  /// A host that emulates kernel code runs many instructions before it looks whether a dirty ring is full, and so
  /// overwrites entries: only where this is true are rings used.
  bool dirty_ring = true;
};

[[nodiscard]] Result<HostLimits> measure_limits(const System& system);

}  // namespace nagaya::engine::kvm
