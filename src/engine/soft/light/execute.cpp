// The dispatcher of instructions that are not re-encoded: from mnemonic to function.
#include "engine/soft/light/execute.hpp"

#include <Zydis/Mnemonic.h>

#include "engine/soft/light/operand.hpp"
#include "engine/soft/light/transfer.hpp"

namespace nagaya::engine::soft {
namespace exec {
namespace {

/// An instruction that does not branch: RIP goes on when it succeeded.
bool step(SoftCpu& cpu, const Insn& insn, bool ok) { return ok && advance(cpu, insn); }

u8 modrm_extension(const Insn& insn) { return insn.modrm >> 3 & 7; }

/// The far forms share mnemonics with the near ones. Reads m16:16, m16:32, m16:64.
bool far_pointer(SoftCpu& cpu, const Insn& insn, u16& selector, u64& offset) {
  const u64 at = effective_address(cpu, insn);
  u64 value;
  if (!load(cpu, insn.seg, at, insn.opsize, offset)) return false;
  if (!load(cpu, insn.seg, (at + insn.opsize) & size_mask(insn.addrsize), 2, value)) return false;
  selector = static_cast<u16>(value);
  return true;
}

bool jump(SoftCpu& cpu, const Insn& insn) {
  u16 selector;
  u64 offset;
  if (insn.opcode == 0xea) return far_jump(cpu, static_cast<u16>(insn.imm2), insn.imm, insn.opsize, next_rip(cpu, insn));
  if (insn.opcode == 0xff && modrm_extension(insn) == 5) {
    if (!insn.has_mem) return raise(cpu, vec_ud);
    return far_pointer(cpu, insn, selector, offset) && far_jump(cpu, selector, offset, insn.opsize, next_rip(cpu, insn));
  }
  return near_jump(cpu, insn);
}

bool call(SoftCpu& cpu, const Insn& insn) {
  u16 selector;
  u64 offset;
  if (insn.opcode == 0x9a) return far_call(cpu, static_cast<u16>(insn.imm2), insn.imm, insn.opsize, next_rip(cpu, insn));
  if (insn.opcode == 0xff && modrm_extension(insn) == 3) {
    if (!insn.has_mem) return raise(cpu, vec_ud);
    return far_pointer(cpu, insn, selector, offset) && far_call(cpu, selector, offset, insn.opsize, next_rip(cpu, insn));
  }
  return near_call(cpu, insn);
}

bool ret(SoftCpu& cpu, const Insn& insn) {
  if (insn.opcode == 0xcb) return far_ret(cpu, insn.opsize, 0);
  if (insn.opcode == 0xca) return far_ret(cpu, insn.opsize, insn.imm & 0xffff);
  return near_return(cpu, insn);
}

bool move(SoftCpu& cpu, const Insn& insn) {
  if (insn.opcode_map == 0 && (insn.opcode == 0x8c || insn.opcode == 0x8e)) return move_segment(cpu, insn);
  if (insn.opcode_map == 1 && (insn.opcode == 0x20 || insn.opcode == 0x22)) return move_control(cpu, insn);
  if (insn.opcode_map == 1 && (insn.opcode == 0x21 || insn.opcode == 0x23)) return move_debug(cpu, insn);
  return raise(cpu, vec_ud);
}

bool set_carry_al(SoftCpu& cpu) {
  write_gpr(cpu, RAX, 1, true, flag(cpu, flag_cf) ? 0xff : 0);
  return true;
}

bool set(SoftCpu& cpu, u64 bit, bool on) {
  set_flag(cpu, bit, on);
  return true;
}

/// MOVSD and CMPSD are also SSE instructions, which are not executed here.
bool string_doubleword(SoftCpu& cpu, const Insn& insn, StringOp op) {
  return insn.opcode_map == 0 && !insn.vex && !insn.evex ? string(cpu, insn, op) : raise(cpu, vec_ud);
}

/// Anything that only execute_heavy() knows; unknown even there: #UD.
bool leave_to_heavy(SoftCpu& cpu) {
  if (!require_heavy(cpu)) return false;
  ++cpu.count.undefined;
  return raise(cpu, vec_ud);
}

}  // namespace
}  // namespace exec

bool execute(SoftCpu& cpu, const Insn& insn) {
  using namespace exec;
  if (insn.lock) return raise(cpu, vec_ud);
  switch (insn.mnemonic) {
    // ---- control flow
    case ZYDIS_MNEMONIC_JMP: return jump(cpu, insn);
    case ZYDIS_MNEMONIC_CALL: return call(cpu, insn);
    case ZYDIS_MNEMONIC_RET: return ret(cpu, insn);
    case ZYDIS_MNEMONIC_JO: case ZYDIS_MNEMONIC_JNO: case ZYDIS_MNEMONIC_JB: case ZYDIS_MNEMONIC_JNB:
    case ZYDIS_MNEMONIC_JZ: case ZYDIS_MNEMONIC_JNZ: case ZYDIS_MNEMONIC_JBE: case ZYDIS_MNEMONIC_JNBE:
    case ZYDIS_MNEMONIC_JS: case ZYDIS_MNEMONIC_JNS: case ZYDIS_MNEMONIC_JP: case ZYDIS_MNEMONIC_JNP:
    case ZYDIS_MNEMONIC_JL: case ZYDIS_MNEMONIC_JNL: case ZYDIS_MNEMONIC_JLE: case ZYDIS_MNEMONIC_JNLE:
      return conditional_jump(cpu, insn);
    case ZYDIS_MNEMONIC_LOOP: case ZYDIS_MNEMONIC_LOOPE: case ZYDIS_MNEMONIC_LOOPNE: return exec::loop(cpu, insn);
    case ZYDIS_MNEMONIC_JCXZ: case ZYDIS_MNEMONIC_JECXZ: case ZYDIS_MNEMONIC_JRCXZ: return jump_if_zero_count(cpu, insn);
    case ZYDIS_MNEMONIC_INT: case ZYDIS_MNEMONIC_INT1: case ZYDIS_MNEMONIC_INT3: case ZYDIS_MNEMONIC_INTO:
      return interrupt(cpu, insn);
    case ZYDIS_MNEMONIC_IRET: case ZYDIS_MNEMONIC_IRETD: case ZYDIS_MNEMONIC_IRETQ: return iret(cpu, insn);
    case ZYDIS_MNEMONIC_SYSCALL: return syscall(cpu, insn);
    case ZYDIS_MNEMONIC_SYSRET: return sysret(cpu, insn);
    case ZYDIS_MNEMONIC_SYSENTER: return sysenter(cpu);
    case ZYDIS_MNEMONIC_SYSEXIT: return sysexit(cpu, insn);

    // ---- strings
    case ZYDIS_MNEMONIC_MOVSB: case ZYDIS_MNEMONIC_MOVSW: case ZYDIS_MNEMONIC_MOVSQ: return string(cpu, insn, StringOp::movs);
    case ZYDIS_MNEMONIC_MOVSD: return string_doubleword(cpu, insn, StringOp::movs);
    case ZYDIS_MNEMONIC_STOSB: case ZYDIS_MNEMONIC_STOSW: case ZYDIS_MNEMONIC_STOSD: case ZYDIS_MNEMONIC_STOSQ:
      return string(cpu, insn, StringOp::stos);
    case ZYDIS_MNEMONIC_LODSB: case ZYDIS_MNEMONIC_LODSW: case ZYDIS_MNEMONIC_LODSD: case ZYDIS_MNEMONIC_LODSQ:
      return string(cpu, insn, StringOp::lods);
    case ZYDIS_MNEMONIC_CMPSB: case ZYDIS_MNEMONIC_CMPSW: case ZYDIS_MNEMONIC_CMPSQ: return string(cpu, insn, StringOp::cmps);
    case ZYDIS_MNEMONIC_CMPSD: return string_doubleword(cpu, insn, StringOp::cmps);
    case ZYDIS_MNEMONIC_SCASB: case ZYDIS_MNEMONIC_SCASW: case ZYDIS_MNEMONIC_SCASD: case ZYDIS_MNEMONIC_SCASQ:
      return string(cpu, insn, StringOp::scas);

    // ---- stack
    case ZYDIS_MNEMONIC_PUSH: return step(cpu, insn, push_operand(cpu, insn));
    case ZYDIS_MNEMONIC_POP: return step(cpu, insn, pop_operand(cpu, insn));
    case ZYDIS_MNEMONIC_PUSHA: case ZYDIS_MNEMONIC_PUSHAD: return step(cpu, insn, push_all(cpu, insn));
    case ZYDIS_MNEMONIC_POPA: case ZYDIS_MNEMONIC_POPAD: return step(cpu, insn, pop_all(cpu, insn));
    case ZYDIS_MNEMONIC_ENTER: return step(cpu, insn, enter(cpu, insn));
    case ZYDIS_MNEMONIC_LEAVE: return step(cpu, insn, leave(cpu, insn));
    case ZYDIS_MNEMONIC_PUSHF: case ZYDIS_MNEMONIC_PUSHFD: case ZYDIS_MNEMONIC_PUSHFQ:
      return step(cpu, insn, push_flags(cpu, insn));
    case ZYDIS_MNEMONIC_POPF: case ZYDIS_MNEMONIC_POPFD: case ZYDIS_MNEMONIC_POPFQ:
      return step(cpu, insn, pop_flags(cpu, insn));

    // ---- flags
    case ZYDIS_MNEMONIC_CLI: return step(cpu, insn, change_if(cpu, false));
    case ZYDIS_MNEMONIC_STI: return step(cpu, insn, change_if(cpu, true));
    case ZYDIS_MNEMONIC_CLAC: return step(cpu, insn, change_ac(cpu, false));
    case ZYDIS_MNEMONIC_STAC: return step(cpu, insn, change_ac(cpu, true));
    case ZYDIS_MNEMONIC_CLD: return step(cpu, insn, set(cpu, flag_df, false));
    case ZYDIS_MNEMONIC_STD: return step(cpu, insn, set(cpu, flag_df, true));
    case ZYDIS_MNEMONIC_CLC: return step(cpu, insn, set(cpu, flag_cf, false));
    case ZYDIS_MNEMONIC_STC: return step(cpu, insn, set(cpu, flag_cf, true));
    case ZYDIS_MNEMONIC_CMC: return step(cpu, insn, set(cpu, flag_cf, !flag(cpu, flag_cf)));
    case ZYDIS_MNEMONIC_LAHF: return step(cpu, insn, load_ah_flags(cpu));
    case ZYDIS_MNEMONIC_SAHF: return step(cpu, insn, store_ah_flags(cpu));
    case ZYDIS_MNEMONIC_SALC: return step(cpu, insn, set_carry_al(cpu));

    // ---- segments and descriptors
    case ZYDIS_MNEMONIC_MOV: return step(cpu, insn, move(cpu, insn));
    case ZYDIS_MNEMONIC_LDS: return step(cpu, insn, load_far_pointer(cpu, insn, DS));
    case ZYDIS_MNEMONIC_LES: return step(cpu, insn, load_far_pointer(cpu, insn, ES));
    case ZYDIS_MNEMONIC_LFS: return step(cpu, insn, load_far_pointer(cpu, insn, FS));
    case ZYDIS_MNEMONIC_LGS: return step(cpu, insn, load_far_pointer(cpu, insn, GS));
    case ZYDIS_MNEMONIC_LSS: return step(cpu, insn, load_far_pointer(cpu, insn, SS));
    case ZYDIS_MNEMONIC_RDFSBASE: return step(cpu, insn, segment_base_access(cpu, insn, FS, false));
    case ZYDIS_MNEMONIC_RDGSBASE: return step(cpu, insn, segment_base_access(cpu, insn, GS, false));
    case ZYDIS_MNEMONIC_WRFSBASE: return step(cpu, insn, segment_base_access(cpu, insn, FS, true));
    case ZYDIS_MNEMONIC_WRGSBASE: return step(cpu, insn, segment_base_access(cpu, insn, GS, true));
    case ZYDIS_MNEMONIC_SWAPGS: return step(cpu, insn, swap_gs(cpu));
    case ZYDIS_MNEMONIC_LAR: return step(cpu, insn, load_access_rights(cpu, insn));
    case ZYDIS_MNEMONIC_LSL: return step(cpu, insn, load_segment_limit(cpu, insn));
    case ZYDIS_MNEMONIC_VERR: return step(cpu, insn, verify_segment(cpu, insn, false));
    case ZYDIS_MNEMONIC_VERW: return step(cpu, insn, verify_segment(cpu, insn, true));
    case ZYDIS_MNEMONIC_ARPL: return step(cpu, insn, adjust_rpl(cpu, insn));
    case ZYDIS_MNEMONIC_SGDT: return step(cpu, insn, store_table(cpu, insn, cpu.s.gdtr));
    case ZYDIS_MNEMONIC_SIDT: return step(cpu, insn, store_table(cpu, insn, cpu.s.idtr));
    case ZYDIS_MNEMONIC_LGDT: return step(cpu, insn, load_table(cpu, insn, cpu.s.gdtr));
    case ZYDIS_MNEMONIC_LIDT: return step(cpu, insn, load_table(cpu, insn, cpu.s.idtr));
    case ZYDIS_MNEMONIC_SLDT: return step(cpu, insn, store_selector(cpu, insn, cpu.s.ldtr.selector));
    case ZYDIS_MNEMONIC_STR: return step(cpu, insn, store_selector(cpu, insn, cpu.s.tr.selector));
    case ZYDIS_MNEMONIC_LLDT: case ZYDIS_MNEMONIC_LTR: return step(cpu, insn, load_task_or_ldt(cpu, insn));
    case ZYDIS_MNEMONIC_SMSW: return step(cpu, insn, store_machine_status(cpu, insn));
    case ZYDIS_MNEMONIC_LMSW: return step(cpu, insn, load_machine_status(cpu, insn));

    // ---- control, translations, caches
    case ZYDIS_MNEMONIC_CLTS: return step(cpu, insn, clear_task_switched(cpu));
    case ZYDIS_MNEMONIC_INVLPG: return step(cpu, insn, invalidate_page(cpu, insn));
    case ZYDIS_MNEMONIC_INVPCID: return step(cpu, insn, invalidate_pcid(cpu, insn));
    case ZYDIS_MNEMONIC_INVD: case ZYDIS_MNEMONIC_WBINVD: return step(cpu, insn, require_cpl0(cpu));
    case ZYDIS_MNEMONIC_CLFLUSH: case ZYDIS_MNEMONIC_CLFLUSHOPT: case ZYDIS_MNEMONIC_CLWB:
      return step(cpu, insn, flush_cache_line(cpu, insn));
    case ZYDIS_MNEMONIC_XGETBV: return step(cpu, insn, get_extended_control(cpu));
    case ZYDIS_MNEMONIC_XSETBV: return step(cpu, insn, set_extended_control(cpu));
    case ZYDIS_MNEMONIC_XSAVE64: return step(cpu, insn, xsave_live(cpu, insn, false, false));
    case ZYDIS_MNEMONIC_XSAVEC64: return step(cpu, insn, xsave_live(cpu, insn, true, false));
    case ZYDIS_MNEMONIC_XSAVES64: return step(cpu, insn, xsave_live(cpu, insn, true, true));
    case ZYDIS_MNEMONIC_XRSTOR64: return step(cpu, insn, xrstor_live(cpu, insn, false));
    case ZYDIS_MNEMONIC_XRSTORS64: return step(cpu, insn, xrstor_live(cpu, insn, true));
    case ZYDIS_MNEMONIC_PAUSE: case ZYDIS_MNEMONIC_NOP: return advance(cpu, insn);

    // ---- identification, time, MSRs
    case ZYDIS_MNEMONIC_CPUID: return step(cpu, insn, cpuid(cpu));
    case ZYDIS_MNEMONIC_RDTSC: return step(cpu, insn, read_tsc(cpu, false));
    case ZYDIS_MNEMONIC_RDTSCP: return step(cpu, insn, read_tsc(cpu, true));
    case ZYDIS_MNEMONIC_RDPID: return step(cpu, insn, read_pid(cpu, insn));
    case ZYDIS_MNEMONIC_RDPMC: return raise(cpu, vec_gp, 0);  // there are no counters
    case ZYDIS_MNEMONIC_RDMSR: return step(cpu, insn, read_msr_instruction(cpu));
    case ZYDIS_MNEMONIC_WRMSR: return step(cpu, insn, write_msr_instruction(cpu));

    // ---- what 64-bit mode lacks
    case ZYDIS_MNEMONIC_AAA: case ZYDIS_MNEMONIC_AAS: case ZYDIS_MNEMONIC_AAM: case ZYDIS_MNEMONIC_AAD:
    case ZYDIS_MNEMONIC_DAA: case ZYDIS_MNEMONIC_DAS:
      return step(cpu, insn, decimal(cpu, insn));
    case ZYDIS_MNEMONIC_BOUND: return step(cpu, insn, bound(cpu, insn));
    case ZYDIS_MNEMONIC_XLAT: return step(cpu, insn, translate_byte(cpu, insn));

    case ZYDIS_MNEMONIC_UD0: case ZYDIS_MNEMONIC_UD1: case ZYDIS_MNEMONIC_UD2: case ZYDIS_MNEMONIC_RSM:
      return raise(cpu, vec_ud);
    default: return leave_to_heavy(cpu);
  }
}

}  // namespace nagaya::engine::soft
