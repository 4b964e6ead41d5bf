// MOV to and from debug registers. Source: Intel SDM vol. 3, 18.2; vol. 2, MOV DRn.
#include "engine/soft/light/deliver.hpp"
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/operand.hpp"
#include "engine/soft/light/tlb.hpp"

namespace nagaya::engine::soft::exec {
namespace {

constexpr u64 dr6_writable = 0xe00f, dr6_ones = 0xffff0ff0;
constexpr u64 dr7_writable = 0xffff23ff, dr7_ones = 0x400, dr7_gd = 1u << 13;
constexpr u64 dr6_bd = 1u << 13;

}  // namespace

bool move_debug(SoftCpu& cpu, const Insn& insn) {
  unsigned index = insn.reg;
  if (index > 7) return raise(cpu, vec_ud);
  if (index == 4 || index == 5) {
    if (cpu.s.cr4 & cr4_de) return raise(cpu, vec_ud);
    index += 2;
  }
  if (!require_cpl0(cpu)) return false;
  if (cpu.s.dr7 & dr7_gd) return raise_debug(cpu, dr6_bd);
  const unsigned size = code64(cpu) ? 8 : 4;
  if (insn.opcode == 0x21) {
    const u64 value = index == 6 ? cpu.s.dr6 : index == 7 ? cpu.s.dr7 : cpu.s.dr[index & 3];
    write_gpr(cpu, insn.rm, size, true, value);
    return true;
  }
  const u64 value = read_gpr(cpu, insn.rm, size, true);
  if (index >= 6 && value >> 32) return raise(cpu, vec_gp, 0);
  if (index == 6) {
    cpu.s.dr6 = (value & dr6_writable) | dr6_ones;
  } else if (index == 7) {
    cpu.s.dr7 = (value & dr7_writable) | dr7_ones;
  } else {
    cpu.s.dr[index & 3] = value;
  }
  tlb_rights_changed(cpu);  // pages with breakpoints on data are kept out of the inline tables
  return true;
}

}  // namespace nagaya::engine::soft::exec
