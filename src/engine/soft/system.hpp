// Everything that is not computation, in C++: virtual memory, exceptions and interrupts, segments, control and debug
// registers, MSRs, system calls, far transfers, task switch, strings, and the instructions 64-bit mode lacks.
//
// "Light" code (the folder light/) is compiled with -mgeneral-regs-only and calls no
// library function, because guest vector state is live in host registers. Where it meets something it cannot do so (MMIO, an
// APIC register, a port) it sets cpu.need_heavy and returns false; nothing has been changed then and the whole instruction is
// executed again with cpu.heavy == true, where devices may be called.
//
// Conventions: functions that can fault return false with cpu.fault filled (or cpu.need_heavy set) and no other effect
// visible to the guest, except where the architecture restarts in the middle (REP strings).
#pragma once
#include "engine/soft/cpu.hpp"
#include "engine/soft/insn.hpp"

namespace nagaya::engine::soft {

// ---- light/softmmu.cpp

/// Result of a page walk.
struct Walk {
  u64 gpa = 0;       ///< full guest-physical address
  bool writable = false;  ///< a write with the same privilege would succeed now with no A/D update (dirty is set)
  bool user = false;
  bool global = false;
  u64 page_size = 4096;
};
/// Privilege of an access: as the TLB kinds. `implicit` supervisor accesses (descriptor tables, TSS) use tlb_supervisor with
/// SMAP always in force when CR4.SMAP (i.e. as AC = 0).
bool walk(SoftCpu& cpu, u64 linear, Access access, TlbKind kind, Walk& out);

/// Host address of the page of guest-physical `gpa` when it is RAM (or ROM for reads), else null.
/// (memory_map.cpp keeps the map for the engine.)
u8* ram_page(SoftCpu& cpu, u64 gpa, bool write);

/// Fills the TLB for one access and returns the host address of `linear`, or null: a fault, MMIO, ROM write, a page with
/// translated code (write) or under dirty logging (write). The two last are told apart by `special` (the write must go through
/// store_special after the bytes changed).
u8* tlb_fill(SoftCpu& cpu, u64 linear, Access access, TlbKind kind, u64* gpa, bool* special);

/// Reads/writes guest linear memory, any size up to 4096, may cross pages, may be MMIO (needs heavy). Writes check both pages
/// before changing any byte. Little-endian bytes.
bool mem_read(SoftCpu& cpu, u64 linear, void* out, unsigned size, TlbKind kind);
bool mem_write(SoftCpu& cpu, u64 linear, const void* data, unsigned size, TlbKind kind);
/// Checks that a later mem_write cannot fault.
bool mem_probe_write(SoftCpu& cpu, u64 linear, unsigned size, TlbKind kind);

/// The TLB kind of ordinary accesses at the current CPL, CR4.SMAP and AC.
TlbKind current_kind(const SoftCpu& cpu);

void tlb_flush_all(SoftCpu& cpu);         ///< everything, global pages too; also the jump cache
void tlb_flush_nonglobal(SoftCpu& cpu);   ///< CR3 write; may flush more than it must
void tlb_flush_page(SoftCpu& cpu, u64 linear);
/// Drops write permission of a guest-physical page from this vCPU's TLB (it now holds code, or dirty logging starts).
void tlb_protect_gpa(SoftCpu& cpu, u64 gpa_page);

// ---- light/segment.cpp

/// Linear address of seg:offset for an access of `size` bytes: base, limit, type, canonical checks. Raises #GP/#SS.
bool linear_address(SoftCpu& cpu, u8 seg, u64 offset, unsigned size, Access access, u64& linear);
/// MOV/POP/LxS to a segment register (not CS), with all checks. In real and virtual-8086 mode: base = selector << 4.
bool load_segment(SoftCpu& cpu, u8 seg, u16 selector);
/// Recomputes cpu.lin_seg_base, mode-dependent caches; called after anything that changes segments, CRs, EFER, CPL, AC, TF.
void mode_changed(SoftCpu& cpu);
inline unsigned cpl(const SoftCpu& cpu) { return cpu.s.seg[x86::SS].dpl(); }

// ---- light/deliver.cpp

/// Records a fault for the current instruction; always returns false.
bool raise(SoftCpu& cpu, u8 vector);
bool raise(SoftCpu& cpu, u8 vector, u32 code);
/// Delivers cpu.fault through the IDT in the current mode (all modes, IST, stack switch, task gates, error code, RF, DR6,
/// CR2 already set by the walker), with double and triple fault rules. False: shutdown (s.run_state set) or need_heavy.
bool deliver_fault(SoftCpu& cpu);
/// Delivers an external interrupt or NMI (vector 2) at an instruction boundary.
bool deliver_interrupt(SoftCpu& cpu, u8 vector, bool nmi);
/// IRET in every mode. Also used by execute().
bool iret(SoftCpu& cpu, const Insn& insn);

// ---- light/execute_*.cpp and execute_heavy*.cpp

/// Executes one instruction that is not re-encoded. On success s.rip is that of the next instruction to execute. Light.
bool execute(SoftCpu& cpu, const Insn& insn);
/// The same with the vector state saved in s.xsave and library calls allowed: ports, HLT, CPUID, APIC MSRs, FXSAVE/XSAVE families,
/// gathers and scatters, anything execute() answered with need_heavy. HLT sets s.run_state = halted.
bool execute_heavy(SoftCpu& cpu, const Insn& insn);

// ---- given by runtime (the other half of the engine)

/// Bytes [gpa, gpa+size) of RAM were or are about to be written: drops blocks translated from them on all vCPUs, records dirty
/// pages. Sets cpu.code_dropped when blocks were dropped.  Light-safe.
void store_special(SoftCpu& cpu, u64 gpa, unsigned size);
/// True when the page holds translated code or is under dirty logging: no write entry may go into the TLB.
bool page_is_special(SoftCpu& cpu, u64 gpa_page);
/// KVM_HC_KICK_CPU: wakes the vCPU with this APIC id from HLT. Called heavy only.
void hypercall_kick(SoftCpu& cpu, u64 apic_id);

}  // namespace nagaya::engine::soft
