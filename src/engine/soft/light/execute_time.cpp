// RDTSC, RDTSCP, RDPID. Source: Intel SDM vol. 2.
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/operand.hpp"

namespace nagaya::engine::soft::exec {

bool read_tsc(SoftCpu& cpu, bool with_aux) {
  if (with_aux && !(cpu.features & feat_rdtscp)) return raise(cpu, vec_ud);
  if ((cpu.s.cr4 & cr4_tsd) && protected_mode(cpu) && cpl(cpu) != 0) return raise(cpu, vec_gp, 0);
  const u64 now = guest_tsc(cpu);
  cpu.s.gpr[RAX] = now & 0xffffffff;
  cpu.s.gpr[RDX] = now >> 32;
  if (with_aux) cpu.s.gpr[RCX] = cpu.s.msr.tsc_aux & 0xffffffff;
  return true;
}

bool read_pid(SoftCpu& cpu, const Insn& insn) {
  if (!(cpu.features & feat_rdpid)) return raise(cpu, vec_ud);
  write_gpr(cpu, insn.rm, code64(cpu) ? 8 : 4, true, cpu.s.msr.tsc_aux & 0xffffffff);
  return true;
}

}  // namespace nagaya::engine::soft::exec
