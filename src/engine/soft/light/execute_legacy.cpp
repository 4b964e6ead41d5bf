// BOUND and XLAT. Source: Intel SDM vol. 2.
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/operand.hpp"

namespace nagaya::engine::soft::exec {

bool bound(SoftCpu& cpu, const Insn& insn) {
  if (!insn.has_mem) return raise(cpu, vec_ud);
  const unsigned size = insn.opsize;
  const u64 at = effective_address(cpu, insn);
  u64 low, high;
  if (!load(cpu, insn.seg, at, size, low)) return false;
  if (!load(cpu, insn.seg, (at + size) & size_mask(insn.addrsize), size, high)) return false;
  const unsigned shift = 64 - 8 * size;
  const auto as_signed = [shift](u64 value) { return static_cast<i64>(value << shift) >> shift; };
  const i64 index = as_signed(cpu.s.gpr[insn.reg & 15]);
  if (index < as_signed(low) || index > as_signed(high)) return raise(cpu, vec_br);
  return true;
}

bool translate_byte(SoftCpu& cpu, const Insn& insn) {
  const u64 at = (cpu.s.gpr[RBX] + (cpu.s.gpr[RAX] & 0xff)) & size_mask(insn.addrsize);
  u64 value;
  if (!load(cpu, insn.seg, at, 1, value)) return false;
  write_gpr(cpu, RAX, 1, true, value);
  return true;
}

}  // namespace nagaya::engine::soft::exec
