// Segment registers and their bases: MOV to and from a segment register, LDS and its kin, FSGSBASE, SWAPGS.
// Source: Intel SDM vol. 2.
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/operand.hpp"

namespace nagaya::engine::soft::exec {

bool move_segment(SoftCpu& cpu, const Insn& insn) {
  const u8 seg = insn.modrm >> 3 & 7;
  if (seg > GS) return raise(cpu, vec_ud);
  if (insn.opcode == 0x8c) {
    // Memory takes 16 bits whatever the operand size; a register is zero-extended to it.
    return write_rm(cpu, insn, insn.has_mem ? 2 : insn.opsize, cpu.s.seg[seg].selector);
  }
  if (seg == CS) return raise(cpu, vec_ud);
  u64 selector;
  if (!read_rm(cpu, insn, 2, selector) || !load_segment(cpu, seg, static_cast<u16>(selector))) return false;
  if (seg == SS) cpu.s.events.mov_ss_shadow = true;
  mode_changed(cpu);
  return true;
}

bool load_far_pointer(SoftCpu& cpu, const Insn& insn, u8 seg) {
  if (!insn.has_mem) return raise(cpu, vec_ud);
  const u64 at = effective_address(cpu, insn);
  u64 offset, selector;
  if (!load(cpu, insn.seg, at, insn.opsize, offset)) return false;
  if (!load(cpu, insn.seg, (at + insn.opsize) & size_mask(insn.addrsize), 2, selector)) return false;
  if (!load_segment(cpu, seg, static_cast<u16>(selector))) return false;
  write_gpr(cpu, insn.reg, insn.opsize, true, offset);
  mode_changed(cpu);
  return true;
}

bool segment_base_access(SoftCpu& cpu, const Insn& insn, u8 seg, bool write) {
  if (!code64(cpu) || !(cpu.s.cr4 & cr4_fsgsbase)) return raise(cpu, vec_ud);
  if (!write) {
    write_gpr(cpu, insn.rm, insn.opsize, true, cpu.s.seg[seg].base);
    return true;
  }
  const u64 base = read_gpr(cpu, insn.rm, insn.opsize, true);
  if (!canonical(base)) return raise(cpu, vec_gp, 0);
  cpu.s.seg[seg].base = base;
  cpu.lin_seg_base[seg] = base;
  return true;
}

bool swap_gs(SoftCpu& cpu) {
  if (!code64(cpu)) return raise(cpu, vec_ud);
  if (!require_cpl0(cpu)) return false;
  const u64 base = cpu.s.seg[GS].base;
  cpu.s.seg[GS].base = cpu.s.msr.kernel_gs_base;
  cpu.lin_seg_base[GS] = cpu.s.seg[GS].base;
  cpu.s.msr.kernel_gs_base = base;
  return true;
}

}  // namespace nagaya::engine::soft::exec
