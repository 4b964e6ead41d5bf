// How fast guest kernel code runs.
#pragma once
#include "base/result.hpp"

namespace nagaya::engine::kvm {

class ScratchGuest;

/// Instructions per microsecond from which a host counts as fast: real hardware does hundreds, also nested; emulation
/// one by one does about one.
inline constexpr double fast_mips = 40;

/// Measures for two milliseconds at most, twice where the first result is doubtful.
[[nodiscard]] Result<double> measure_mips(ScratchGuest& guest);

}  // namespace nagaya::engine::kvm
