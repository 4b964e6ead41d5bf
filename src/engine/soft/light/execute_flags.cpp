// Instructions on RFLAGS. Source: Intel SDM vol. 2, CLI, STI, POPF, PUSHF; vol. 3, 21.3 (VME, PVI).
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/operand.hpp"

namespace nagaya::engine::soft::exec {

bool push_flags(SoftCpu& cpu, const Insn& insn) {
  u64 image = cpu.s.rflags & ~u64{flag_vm | flag_rf};
  if (v86_mode(cpu) && iopl(cpu) < 3) {
    if (insn.opsize != 2 || !(cpu.s.cr4 & cr4_vme)) return raise(cpu, vec_gp, 0);
    image |= flag_iopl;
    image = flag(cpu, flag_vif) ? image | flag_if : image & ~u64{flag_if};
  }
  return push(cpu, image, insn.opsize);
}

bool pop_flags(SoftCpu& cpu, const Insn& insn) {
  const bool vm = v86_mode(cpu);
  const bool vme = vm && iopl(cpu) < 3;
  if (vme && (insn.opsize != 2 || !(cpu.s.cr4 & cr4_vme))) return raise(cpu, vec_gp, 0);
  u64 value;
  if (!peek(cpu, insn.opsize, value)) return false;

  u64 change = arithmetic_flags | flag_tf | flag_df | flag_nt;
  if (insn.opsize > 2) change |= flag_ac | flag_id;
  if (vme) {
    if ((value & flag_tf) || ((value & flag_if) && flag(cpu, flag_vip))) return raise(cpu, vec_gp, 0);
    set_flag(cpu, flag_vif, value & flag_if);
  } else if (vm) {
    change |= flag_if;
  } else {
    if (cpl(cpu) == 0) change |= flag_iopl;
    if (cpl(cpu) <= iopl(cpu)) change |= flag_if;
  }
  u64 flags = (cpu.s.rflags & ~change) | (value & change) | 2;
  if (insn.opsize > 2) flags &= ~u64{flag_rf};
  drop(cpu, insn.opsize);
  cpu.s.rflags = flags;
  return true;
}

bool change_if(SoftCpu& cpu, bool on) {
  const bool vm = v86_mode(cpu);
  if (vm ? iopl(cpu) == 3 : cpl(cpu) <= iopl(cpu)) {
    if (on && !flag(cpu, flag_if)) cpu.s.events.interrupt_shadow = true;
    set_flag(cpu, flag_if, on);
    return true;
  }
  const bool is_virtual = vm ? cpu.s.cr4 & cr4_vme : (cpu.s.cr4 & cr4_pvi) && cpl(cpu) == 3;
  if (!is_virtual || (on && flag(cpu, flag_vip))) return raise(cpu, vec_gp, 0);
  set_flag(cpu, flag_vif, on);
  return true;
}

bool change_ac(SoftCpu& cpu, bool on) {
  if (!(cpu.features & feat_smap) || cpl(cpu) != 0) return raise(cpu, vec_ud);
  if (flag(cpu, flag_ac) == on) return true;
  set_flag(cpu, flag_ac, on);
  return true;
}

bool load_ah_flags(SoftCpu& cpu) {
  write_gpr(cpu, RSP /* AH */, 1, false, (cpu.s.rflags & 0xd5) | 2);
  return true;
}

bool store_ah_flags(SoftCpu& cpu) {
  cpu.s.rflags = (cpu.s.rflags & ~u64{0xff}) | (cpu.s.gpr[RAX] >> 8 & 0xd5) | 2;
  return true;
}

}  // namespace nagaya::engine::soft::exec
