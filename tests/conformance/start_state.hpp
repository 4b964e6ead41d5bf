// The first state of a test guest and the tables it finds in memory (see guests/common.inc for the map).
#pragma once
#include "guest.hpp"

namespace nagaya::conformance {

/// Clears low memory and writes GDT, TSS and page tables.
Result<> prepare_memory(memory::GuestMemory& ram, Mode mode);
[[nodiscard]] x86::CpuState start_state(Mode mode);

}  // namespace nagaya::conformance
