// LAR, LSL, VERR, VERW, ARPL: looking at descriptors without loading them. Source: Intel SDM vol. 2.
#include "engine/soft/light/descriptor.hpp"
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/operand.hpp"

namespace nagaya::engine::soft::exec {

bool load_access_rights(SoftCpu& cpu, const Insn& insn) {
  if (paragraph_mode(cpu)) return raise(cpu, vec_ud);
  u64 selector;
  bool ok = false;
  u32 rights = 0;
  if (!read_rm(cpu, insn, 2, selector) || !lar(cpu, static_cast<u16>(selector), ok, rights)) return false;
  set_flag(cpu, flag_zf, ok);
  if (ok) write_gpr(cpu, insn.reg, insn.opsize, true, rights);
  return true;
}

bool load_segment_limit(SoftCpu& cpu, const Insn& insn) {
  if (paragraph_mode(cpu)) return raise(cpu, vec_ud);
  u64 selector;
  bool ok = false;
  u32 limit = 0;
  if (!read_rm(cpu, insn, 2, selector) || !lsl(cpu, static_cast<u16>(selector), ok, limit)) return false;
  set_flag(cpu, flag_zf, ok);
  if (ok) write_gpr(cpu, insn.reg, insn.opsize, true, limit);
  return true;
}

bool verify_segment(SoftCpu& cpu, const Insn& insn, bool write) {
  if (paragraph_mode(cpu)) return raise(cpu, vec_ud);
  u64 selector;
  bool ok = false;
  if (!read_rm(cpu, insn, 2, selector) || !verify(cpu, static_cast<u16>(selector), write, ok)) return false;
  set_flag(cpu, flag_zf, ok);
  return true;
}

bool adjust_rpl(SoftCpu& cpu, const Insn& insn) {
  if (paragraph_mode(cpu)) return raise(cpu, vec_ud);
  u64 destination;
  if (!read_rm(cpu, insn, 2, destination)) return false;
  const u64 rpl = cpu.s.gpr[insn.reg & 7] & 3;
  const bool raised = (destination & 3) < rpl;
  if (raised && !write_rm(cpu, insn, 2, (destination & ~u64{3}) | rpl)) return false;
  set_flag(cpu, flag_zf, raised);
  return true;
}

}  // namespace nagaya::engine::soft::exec
