// What this host's KVM advertises but does not do, found by trying it once per process.
#pragma once
#include "base/result.hpp"
#include "engine/kvm/cpuid.hpp"

namespace nagaya::engine::kvm {

class System;

[[nodiscard]] Result<CpuidLimits> measure_limits(const System& system);

}  // namespace nagaya::engine::kvm
