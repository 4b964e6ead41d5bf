// The assembly between C++ and translated code. Offsets into SoftCpu come from the compiler, so there is nothing to keep in step.
#pragma once
#include "engine/soft/cpu.hpp"

namespace nagaya::engine::soft {

/// Runs the guest on this thread until cpu.leave is set. GS must hold the address of `cpu`. Guest vector state is loaded from
/// and saved to s.xsave.
extern "C" void soft_enter(SoftCpu* cpu);
/// Where a signal handler sends a thread whose re-encoded instruction faulted (cpu.fault and s.rip are set).
extern "C" void soft_native_fault();
/// Fills cpu.thunks and the constants that translated code reads.
void init_thunks(SoftCpu& cpu);

}  // namespace nagaya::engine::soft
