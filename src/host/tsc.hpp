// The processor's time stamp counter.
#pragma once
#include "base/types.hpp"

namespace nagaya::host {

/// Its frequency in Hz, as exactly as the host tells: what its kernel uses for its own clock, else CPUID, else measured
/// once over ten milliseconds. The same value for the life of the process; never 0.
[[nodiscard]] u64 tsc_hz();

[[nodiscard]] inline u64 rdtsc() { return __builtin_ia32_rdtsc(); }

}  // namespace nagaya::host
