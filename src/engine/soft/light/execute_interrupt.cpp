// INT n, INT3, INTO, INT1. Source: Intel SDM vol. 2, INT n; vol. 3, 21.3 (virtual-8086 mode extensions).
#include "engine/soft/light/deliver.hpp"
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/operand.hpp"

namespace nagaya::engine::soft::exec {
namespace {

/// With CR4.VME the TSS says which vectors a virtual-8086 program handles itself, by the table at 0.
/// `redirect`: this one goes there. Intel SDM vol. 3, 21.3.3 and table 21-2.
bool vme_redirects(SoftCpu& cpu, u8 vector, bool& redirect) {
  redirect = false;
  if (!(cpu.s.cr4 & cr4_vme)) return true;
  const auto& tr = cpu.s.tr;
  u16 io_base;
  if (tr.limit < 103) return true;
  if (!mem_read(cpu, tr.base + 102, &io_base, 2, tlb_supervisor)) return false;
  if (io_base < 32 || u32{io_base} - 32 + vector / 8 > tr.limit) return true;
  u8 byte;
  if (!mem_read(cpu, tr.base + io_base - 32 + vector / 8, &byte, 1, tlb_supervisor)) return false;
  redirect = !(byte >> (vector & 7) & 1);
  return true;
}

/// Delivers INT n through the interrupt table at linear 0, staying in virtual-8086 mode.
bool redirect_interrupt(SoftCpu& cpu, u8 vector, u64 next) {
  u32 target;
  if (!mem_read(cpu, u64{vector} * 4, &target, 4, tlb_user)) return false;
  u64 image = cpu.s.rflags & 0xffff;
  if (iopl(cpu) < 3) {
    image |= flag_iopl;
    image = flag(cpu, flag_vif) ? image | flag_if : image & ~flag_if;
  }
  const u64 values[3] = {image, cpu.s.seg[CS].selector, next & 0xffff};
  auto stack = Stack::current(cpu);
  if (!stack_push(cpu, stack, values, 3, 2)) return false;
  stack_commit(cpu, stack);
  cpu.s.rflags &= ~(flag_tf | (iopl(cpu) < 3 ? flag_vif : flag_if));
  auto& cs = cpu.s.seg[CS];
  cs.selector = static_cast<u16>(target >> 16);
  cs.base = u64{cs.selector} << 4;
  cpu.s.rip = target & 0xffff;
  mode_changed(cpu);
  return true;
}

}  // namespace

bool interrupt(SoftCpu& cpu, const Insn& insn) {
  const u64 next = next_rip(cpu, insn);
  switch (insn.opcode) {
    case 0xcc: return raise_software(cpu, vec_bp, next, SoftInt::int3_into);
    case 0xce:
      if (!flag(cpu, flag_of)) return advance(cpu, insn);
      return raise_software(cpu, vec_of, next, SoftInt::int3_into);
    case 0xf1: return raise_software(cpu, vec_db, next, SoftInt::icebp);
    default: break;
  }
  const auto vector = static_cast<u8>(insn.imm);
  if (protected_mode(cpu) && v86_mode(cpu)) {
    bool redirect;
    if (!vme_redirects(cpu, vector, redirect)) return false;
    if (redirect) return redirect_interrupt(cpu, vector, next);
  }
  return raise_software(cpu, vector, next, SoftInt::int_n);
}

}  // namespace nagaya::engine::soft::exec
