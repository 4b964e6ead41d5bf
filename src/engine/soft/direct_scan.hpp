// Instructions that would show a guest's program the host and not its own machine, and that no trap catches.
#pragma once
#include <span>

#include "base/types.hpp"

namespace nagaya::engine::soft {

/// Whether 64-bit code holds one of CPUID, RDPID, LSL, SYSENTER, VMCALL, VMMCALL, RDPKRU, WRPKRU. One that only who jumps into the middle
/// of another instruction would execute is not found, nor one that lies across two pages. Source: Intel SDM vol. 2, AMD APM vol. 3.
[[nodiscard]] bool shows_host(std::span<const u8> page);

}  // namespace nagaya::engine::soft
