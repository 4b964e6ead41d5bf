// The pages a paravirtual guest shares with its hypervisor: clock, stolen time, end of interrupt. Source: Linux
// Documentation/virt/kvm/x86/msr.rst; arch/x86/include/asm/pvclock-abi.h and uapi/asm/kvm_para.h (structure layouts).
//
// The clock in nanoseconds is a function of the guest's TSC alone: (TSC - TSC_ADJUST) scaled, plus kvm_clock_offset. A guest
// that writes its TSC moves TSC_ADJUST by the same amount, so that its clock goes on.
#pragma once
#include "engine/soft/system.hpp"

namespace nagaya::engine::soft {

/// The paravirtual clock now, nanoseconds.
u64 kvm_clock_ns(const SoftCpu& cpu);
/// Writes the clock page, when the guest has one. After a change of tsc_offset, TSC_ADJUST, tsc_khz or kvm_clock_offset.
void kvm_clock_update(SoftCpu& cpu);
/// Adds to the time stolen from this vCPU; `preempted` tells other vCPUs that it does not run now.
void kvm_steal_add(SoftCpu& cpu, u64 ns, bool preempted);

/// PV EOI. `offer` sets the guest's "no EOI write needed" bit after an interrupt was injected that it may skip the EOI of;
/// false when the guest has not enabled it. `taken` clears the bit and is true when the guest had already cleared it: the
/// interrupt has ended.
bool pv_eoi_offer(SoftCpu& cpu);
bool pv_eoi_taken(SoftCpu& cpu);

/// Reads or writes guest-physical RAM from light code; what is not RAM is skipped (reads as zero).
void physical_write(SoftCpu& cpu, u64 gpa, const void* data, unsigned size);
void physical_read(SoftCpu& cpu, u64 gpa, void* data, unsigned size);

}  // namespace nagaya::engine::soft
