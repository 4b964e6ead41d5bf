// PUSH, POP, PUSHA, POPA, ENTER, LEAVE. Source: Intel SDM vol. 2.
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/operand.hpp"

namespace nagaya::engine::soft::exec {
namespace {

/// Segment register of a one-byte or 0F-map PUSH/POP, or no_reg when the operand is something else.
u8 stack_segment(const Insn& insn) {
  if (insn.opcode_map == 1) {
    if (insn.opcode == 0xa0 || insn.opcode == 0xa1) return FS;
    if (insn.opcode == 0xa8 || insn.opcode == 0xa9) return GS;
    return no_reg;
  }
  switch (insn.opcode) {
    case 0x06: case 0x07: return ES;
    case 0x0e: return CS;
    case 0x16: case 0x17: return SS;
    case 0x1e: case 0x1f: return DS;
    default: return no_reg;
  }
}

bool pop_segment(SoftCpu& cpu, const Insn& insn, u8 seg) {
  u64 selector;
  const unsigned width = stack_width(cpu);
  // Only the selector is read, also from a wider slot.
  if (!peek(cpu, 2, selector) || !load_segment(cpu, seg, static_cast<u16>(selector))) return false;
  set_sp(cpu, width, cpu.s.gpr[RSP] + insn.opsize);
  if (seg == SS) cpu.s.events.mov_ss_shadow = true;
  mode_changed(cpu);
  return true;
}

}  // namespace

bool push_operand(SoftCpu& cpu, const Insn& insn) {
  u64 value = 0;
  if (const u8 seg = stack_segment(insn); seg != no_reg) {
    value = cpu.s.seg[seg].selector;
  } else if (insn.opcode_map == 0 && (insn.opcode == 0x68 || insn.opcode == 0x6a)) {
    value = insn.imm;
  } else if (!read_rm(cpu, insn, insn.opsize, value)) {
    return false;
  }
  return push(cpu, value, insn.opsize);
}

bool pop_operand(SoftCpu& cpu, const Insn& insn) {
  if (const u8 seg = stack_segment(insn); seg != no_reg) return pop_segment(cpu, insn, seg);
  u64 value;
  if (!peek(cpu, insn.opsize, value)) return false;
  if (!insn.has_mem) {
    drop(cpu, insn.opsize);
    write_gpr(cpu, insn.rm, insn.opsize, true, value);  // after RSP moved: POP RSP keeps the value read
    return true;
  }
  // An address based on RSP is computed with the RSP after the pop; a failing write leaves RSP as it was.
  const u64 old = cpu.s.gpr[RSP];
  drop(cpu, insn.opsize);
  if (write_rm(cpu, insn, insn.opsize, value)) return true;
  cpu.s.gpr[RSP] = old;
  return false;
}

bool push_all(SoftCpu& cpu, const Insn& insn) {
  const unsigned width = stack_width(cpu), size = insn.opsize;
  u64 linear[8];
  for (unsigned i = 0; i < 8; ++i) {
    const u64 at = (cpu.s.gpr[RSP] - u64{size} * (i + 1)) & size_mask(width);
    if (!linear_address(cpu, SS, at, size, Access::write, linear[i])) return false;
    if (!mem_probe_write(cpu, linear[i], size, current_kind(cpu))) return false;
  }
  for (unsigned i = 0; i < 8; ++i) {
    const u64 value = cpu.s.gpr[i];  // RAX RCX RDX RBX RSP RBP RSI RDI, the RSP before
    if (!mem_write(cpu, linear[i], &value, size, current_kind(cpu))) return false;
  }
  set_sp(cpu, width, cpu.s.gpr[RSP] - u64{size} * 8);
  return true;
}

bool pop_all(SoftCpu& cpu, const Insn& insn) {
  u64 value[8];
  for (unsigned i = 0; i < 8; ++i) {
    if (!peek(cpu, insn.opsize, value[i], u64{insn.opsize} * i)) return false;
  }
  for (unsigned i = 0; i < 8; ++i) {
    const u8 reg = static_cast<u8>(7 - i);
    if (reg != RSP) write_gpr(cpu, reg, insn.opsize, true, value[i]);
  }
  drop(cpu, u64{insn.opsize} * 8);
  return true;
}

bool enter(SoftCpu& cpu, const Insn& insn) {
  const unsigned width = stack_width(cpu), size = insn.opsize, level = insn.imm2 & 31;
  const u64 mask = size_mask(width), sp = cpu.s.gpr[RSP], bp = cpu.s.gpr[RBP];
  const u64 frame = (sp - size) & mask;
  // First everything that can fault, then the writes.
  u64 values[32], linear[32];
  unsigned count = 0;
  values[count++] = bp;
  if (level > 0) {
    for (unsigned i = 1; i < level; ++i) {
      if (!load(cpu, SS, (bp - u64{size} * i) & mask, size, values[count])) return false;
      ++count;
    }
    values[count++] = frame | (sp & ~mask);
  }
  for (unsigned i = 0; i < count; ++i) {
    const u64 at = (sp - u64{size} * (i + 1)) & mask;
    if (!linear_address(cpu, SS, at, size, Access::write, linear[i])) return false;
    if (!mem_probe_write(cpu, linear[i], size, current_kind(cpu))) return false;
  }
  // A frame whose top could not be written faults here and not at the first push into it.
  const u64 top = (sp - u64{size} * count - (insn.imm & 0xffff)) & mask;
  u64 top_linear;
  if (!linear_address(cpu, SS, top, size, Access::write, top_linear)) return false;
  if (!mem_probe_write(cpu, top_linear, size, current_kind(cpu))) return false;
  for (unsigned i = 0; i < count; ++i) {
    if (!mem_write(cpu, linear[i], &values[i], size, current_kind(cpu))) return false;
  }
  write_gpr(cpu, RBP, size, true, frame | (sp & ~mask));
  set_sp(cpu, width, top);
  return true;
}

bool leave(SoftCpu& cpu, const Insn& insn) {
  const unsigned width = stack_width(cpu);
  const u64 sp = cpu.s.gpr[RBP] & size_mask(width);
  u64 value;
  if (!load(cpu, SS, sp, insn.opsize, value)) return false;
  set_sp(cpu, width, sp + insn.opsize);
  write_gpr(cpu, RBP, insn.opsize, true, value);
  return true;
}

}  // namespace nagaya::engine::soft::exec
