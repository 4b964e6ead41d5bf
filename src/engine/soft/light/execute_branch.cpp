// Near control flow, in the modes and operand sizes that translated code leaves to C++.
// Source: Intel SDM vol. 2, CALL, JMP, Jcc, LOOP, RET.
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/operand.hpp"

namespace nagaya::engine::soft::exec {
namespace {

bool relative(SoftCpu& cpu, const Insn& insn) {
  u64 target = cpu.s.rip + insn.length + insn.imm;
  if (!check_target(cpu, target, insn.opsize)) return false;
  cpu.s.rip = target;
  return true;
}

bool branch_target(SoftCpu& cpu, const Insn& insn, u64& target) {
  if (insn.opcode == 0xff) {
    if (!read_rm(cpu, insn, insn.opsize, target)) return false;
  } else {
    target = cpu.s.rip + insn.length + insn.imm;
  }
  return check_target(cpu, target, insn.opsize);
}

}  // namespace

bool near_jump(SoftCpu& cpu, const Insn& insn) {
  u64 target;
  if (!branch_target(cpu, insn, target)) return false;
  cpu.s.rip = target;
  return true;
}

bool near_call(SoftCpu& cpu, const Insn& insn) {
  u64 target;
  if (!branch_target(cpu, insn, target)) return false;
  if (!push(cpu, next_rip(cpu, insn), insn.opsize)) return false;
  cpu.s.rip = target;
  return true;
}

bool near_return(SoftCpu& cpu, const Insn& insn) {
  u64 target;
  if (!peek(cpu, insn.opsize, target) || !check_target(cpu, target, insn.opsize)) return false;
  drop(cpu, insn.opsize + (insn.opcode == 0xc2 ? insn.imm & 0xffff : 0));
  cpu.s.rip = target;
  return true;
}

bool conditional_jump(SoftCpu& cpu, const Insn& insn) {
  return condition(cpu, insn.opcode) ? relative(cpu, insn) : advance(cpu, insn);
}

bool loop(SoftCpu& cpu, const Insn& insn) {
  const u64 count = (read_gpr(cpu, RCX, insn.addrsize, true) - 1) & size_mask(insn.addrsize);
  bool taken = count != 0;
  if (insn.opcode == 0xe0) taken = taken && !flag(cpu, flag_zf);
  if (insn.opcode == 0xe1) taken = taken && flag(cpu, flag_zf);
  if (taken ? !relative(cpu, insn) : !advance(cpu, insn)) return false;
  write_gpr(cpu, RCX, insn.addrsize, true, count);
  return true;
}

bool jump_if_zero_count(SoftCpu& cpu, const Insn& insn) {
  return read_gpr(cpu, RCX, insn.addrsize, true) == 0 ? relative(cpu, insn) : advance(cpu, insn);
}

}  // namespace nagaya::engine::soft::exec
