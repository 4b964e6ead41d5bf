// The functions behind execute(), one group per file. Those that return bool follow system.hpp: false means a fault, or
// need_heavy, and nothing changed. Unless said otherwise they leave s.rip to the dispatcher, which advances it on success.
#pragma once
#include "engine/soft/system.hpp"

namespace nagaya::engine::soft::exec {

// ---- execute_branch.cpp: set s.rip themselves
bool near_jump(SoftCpu& cpu, const Insn& insn);
bool near_call(SoftCpu& cpu, const Insn& insn);
bool near_return(SoftCpu& cpu, const Insn& insn);
bool conditional_jump(SoftCpu& cpu, const Insn& insn);
bool loop(SoftCpu& cpu, const Insn& insn);
bool jump_if_zero_count(SoftCpu& cpu, const Insn& insn);

// ---- execute_stack.cpp
bool push_operand(SoftCpu& cpu, const Insn& insn);
bool pop_operand(SoftCpu& cpu, const Insn& insn);
bool push_all(SoftCpu& cpu, const Insn& insn);
bool pop_all(SoftCpu& cpu, const Insn& insn);
bool enter(SoftCpu& cpu, const Insn& insn);
bool leave(SoftCpu& cpu, const Insn& insn);

// ---- execute_flags.cpp
bool push_flags(SoftCpu& cpu, const Insn& insn);
bool pop_flags(SoftCpu& cpu, const Insn& insn);
bool change_if(SoftCpu& cpu, bool on);
bool change_ac(SoftCpu& cpu, bool on);
bool load_ah_flags(SoftCpu& cpu);
bool store_ah_flags(SoftCpu& cpu);

// ---- execute_string.cpp: advances s.rip itself when the last iteration is done
enum class StringOp : u8 { movs, stos, lods, cmps, scas };
bool string(SoftCpu& cpu, const Insn& insn, StringOp op);

// ---- execute_segment.cpp
bool move_segment(SoftCpu& cpu, const Insn& insn);
bool load_far_pointer(SoftCpu& cpu, const Insn& insn, u8 seg);
bool segment_base_access(SoftCpu& cpu, const Insn& insn, u8 seg, bool write);
bool swap_gs(SoftCpu& cpu);

// ---- execute_descriptor.cpp
bool load_access_rights(SoftCpu& cpu, const Insn& insn);
bool load_segment_limit(SoftCpu& cpu, const Insn& insn);
bool verify_segment(SoftCpu& cpu, const Insn& insn, bool write);
bool adjust_rpl(SoftCpu& cpu, const Insn& insn);

// ---- execute_table.cpp
bool store_table(SoftCpu& cpu, const Insn& insn, const x86::TableRegister& table);
bool load_table(SoftCpu& cpu, const Insn& insn, x86::TableRegister& table);
bool store_selector(SoftCpu& cpu, const Insn& insn, u16 selector);
bool load_task_or_ldt(SoftCpu& cpu, const Insn& insn);
bool store_machine_status(SoftCpu& cpu, const Insn& insn);
bool load_machine_status(SoftCpu& cpu, const Insn& insn);

// ---- execute_control.cpp
bool move_control(SoftCpu& cpu, const Insn& insn);
bool write_cr0(SoftCpu& cpu, u64 value);
bool write_cr3(SoftCpu& cpu, u64 value);
bool write_cr4(SoftCpu& cpu, u64 value);
bool clear_task_switched(SoftCpu& cpu);
bool invalidate_page(SoftCpu& cpu, const Insn& insn);
bool invalidate_pcid(SoftCpu& cpu, const Insn& insn);
bool flush_cache_line(SoftCpu& cpu, const Insn& insn);
bool get_extended_control(SoftCpu& cpu);
bool set_extended_control(SoftCpu& cpu);

// ---- execute_xsave.cpp: called by translated code only, where vector state is live
bool xsave_live(SoftCpu& cpu, const Insn& insn, bool compact, bool supervisor);
bool xrstor_live(SoftCpu& cpu, const Insn& insn, bool supervisor);

// ---- execute_debug.cpp
bool move_debug(SoftCpu& cpu, const Insn& insn);

// ---- execute_cpuid.cpp
bool cpuid(SoftCpu& cpu);
/// The table's entry for a leaf and subleaf, or null.
const x86::CpuidEntry* find_cpuid(const SoftCpu& cpu, u32 function, u32 index);
bool cpuid_feature(const SoftCpu& cpu, u32 function, u32 index, unsigned word, unsigned bit);

// ---- execute_time.cpp
bool read_tsc(SoftCpu& cpu, bool with_aux);
bool read_pid(SoftCpu& cpu, const Insn& insn);

// ---- execute_msr.cpp, execute_msr_*.cpp
bool read_msr_instruction(SoftCpu& cpu);
bool write_msr_instruction(SoftCpu& cpu);
/// One MSR by number. Raises #GP(0) for one that does not exist or a value it refuses.
bool read_msr(SoftCpu& cpu, u32 index, u64& value);
bool write_msr(SoftCpu& cpu, u32 index, u64 value);
enum class MsrAnswer : u8 { done, unknown, refused, heavy };
MsrAnswer read_memory_type_msr(SoftCpu& cpu, u32 index, u64& value);
MsrAnswer write_memory_type_msr(SoftCpu& cpu, u32 index, u64 value);
MsrAnswer read_benign_msr(SoftCpu& cpu, u32 index, u64& value);
MsrAnswer write_benign_msr(SoftCpu& cpu, u32 index, u64 value);
MsrAnswer read_kvm_msr(SoftCpu& cpu, u32 index, u64& value);
MsrAnswer write_kvm_msr(SoftCpu& cpu, u32 index, u64 value);

// ---- execute_syscall.cpp: set s.rip themselves
bool syscall(SoftCpu& cpu, const Insn& insn);
bool sysret(SoftCpu& cpu, const Insn& insn);
bool sysenter(SoftCpu& cpu);
bool sysexit(SoftCpu& cpu, const Insn& insn);

// ---- execute_interrupt.cpp: software interrupts
bool interrupt(SoftCpu& cpu, const Insn& insn);

// ---- execute_decimal.cpp, execute_legacy.cpp
bool decimal(SoftCpu& cpu, const Insn& insn);
bool bound(SoftCpu& cpu, const Insn& insn);
bool translate_byte(SoftCpu& cpu, const Insn& insn);

// ---- execute_port.cpp
/// Checks IOPL and the TSS's I/O bitmap for an access of `size` bytes. Raises #GP(0).
bool port_allowed(SoftCpu& cpu, u16 port, unsigned size);

}  // namespace nagaya::engine::soft::exec
