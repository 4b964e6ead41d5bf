// Events on their way through the IDT, beside deliver_fault and deliver_interrupt of system.hpp.
#pragma once
#include "engine/soft/light/arch.hpp"

namespace nagaya::engine::soft {

/// Which instruction raised a software interrupt.
enum class SoftInt : u8 {
  int_n,      ///< CD ib: gate DPL checked, in virtual-8086 mode IOPL too
  int3_into,  ///< CC, CE: gate DPL checked
  icebp,      ///< F1: #DB without checks
};

/// Records a software interrupt of the current instruction (s.rip is still its address); always returns false, and
/// deliver_fault() does the rest: `next_rip` is pushed, unless the delivery itself faults.
bool raise_software(SoftCpu& cpu, u8 vector, u64 next_rip, SoftInt how);
/// Records #DB with bits for DR6. As a trap s.rip is that of the next instruction; as a fault (instruction breakpoint,
/// general detect) that of this one.
bool raise_debug(SoftCpu& cpu, u64 dr6_bits);

}  // namespace nagaya::engine::soft
