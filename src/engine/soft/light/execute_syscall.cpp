// Fast system calls. SYSCALL and SYSRET work in every protected mode as on AMD processors (32-bit programs of a kernel that
// sees an AMD vendor name use them); SYSENTER and SYSEXIT as on Intel's. Source: Intel SDM vol. 2; AMD APM vol. 3.
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/operand.hpp"
#include "engine/soft/light/transfer.hpp"

namespace nagaya::engine::soft::exec {
namespace {

// Attributes with base 0 and limit ffffffffh: present, G, code execute/read accessed or data read/write accessed.
constexpr u16 code64_attr = 0xa09b, code32_attr = 0xc09b, data_attr = 0xc093;

void set_flat(x86::Segment& seg, u16 selector, u16 attr, unsigned dpl) {
  seg.base = 0;
  seg.limit = 0xffffffff;
  seg.selector = selector;
  seg.attr = static_cast<u16>(attr | dpl << 5);
  seg.unusable = false;
}

}  // namespace

bool syscall(SoftCpu& cpu, const Insn& insn) {
  if (!(cpu.s.msr.efer & efer_sce) || paragraph_mode(cpu)) return raise(cpu, vec_ud);
  const auto& msr = cpu.s.msr;
  const auto selector = static_cast<u16>(msr.star >> 32 & 0xfffc);
  const u64 next = next_rip(cpu, insn);
  const bool was64 = code64(cpu);
  if (long_mode(cpu)) {
    cpu.s.gpr[RCX] = next;
    cpu.s.gpr[x86::R11] = cpu.s.rflags & ~flag_rf;
    cpu.s.rflags = (cpu.s.rflags & ~(msr.sfmask | flag_rf)) | 2;
    cpu.s.rip = was64 ? msr.lstar : msr.cstar;
    set_flat(cpu.s.seg[CS], selector, code64_attr, 0);
  } else {
    cpu.s.gpr[RCX] = next;
    cpu.s.rflags &= ~(flag_if | flag_rf | flag_vm);
    cpu.s.rip = msr.star & 0xffffffff;
    set_flat(cpu.s.seg[CS], selector, code32_attr, 0);
  }
  set_flat(cpu.s.seg[SS], static_cast<u16>(selector + 8), data_attr, 0);
  const bool flat = long_mode(cpu) && was64;
  if (!flag(cpu, flag_tf)) cpu.step_trap = false;  // masked away: the kernel's first instruction is not stepped into
  if (!flat) mode_changed(cpu);  // between 64-bit segments no base changes
  return true;
}

bool sysret(SoftCpu& cpu, const Insn& insn) {
  if (!(cpu.s.msr.efer & efer_sce) || paragraph_mode(cpu)) return raise(cpu, vec_ud);
  if (!require_cpl0(cpu)) return false;
  const bool to64 = code64(cpu) && insn.rex_w;
  const auto base = static_cast<u16>(cpu.s.msr.star >> 48);
  const u64 target = to64 ? cpu.s.gpr[RCX] : cpu.s.gpr[RCX] & 0xffffffff;
  if (!canonical(target)) return raise(cpu, vec_gp, 0);
  if (long_mode(cpu)) {
    constexpr u64 loaded = 0x3c7fd7;
    cpu.s.rflags = (cpu.s.gpr[x86::R11] & loaded) | 2;
  } else {
    cpu.s.rflags |= flag_if;
  }
  cpu.s.rip = target;
  set_flat(cpu.s.seg[CS], static_cast<u16>((to64 ? base + 16 : base) | 3), to64 ? code64_attr : code32_attr, 3);
  set_flat(cpu.s.seg[SS], static_cast<u16>((base + 8) | 3), data_attr, 3);
  if (!to64) mode_changed(cpu);
  program_goes_on(cpu);
  return true;
}

bool sysenter(SoftCpu& cpu) {
  const auto& msr = cpu.s.msr;
  if (!protected_mode(cpu) || (msr.sysenter_cs & 0xfffc) == 0) return raise(cpu, vec_gp, 0);
  const auto selector = static_cast<u16>(msr.sysenter_cs & 0xfffc);
  const bool lma = long_mode(cpu);
  cpu.s.rflags &= ~(flag_vm | flag_if | flag_rf);
  cpu.s.gpr[RSP] = lma ? msr.sysenter_esp : msr.sysenter_esp & 0xffffffff;
  cpu.s.rip = lma ? msr.sysenter_eip : msr.sysenter_eip & 0xffffffff;
  set_flat(cpu.s.seg[CS], selector, lma ? code64_attr : code32_attr, 0);
  set_flat(cpu.s.seg[SS], static_cast<u16>(selector + 8), data_attr, 0);
  mode_changed(cpu);
  return true;
}

bool sysexit(SoftCpu& cpu, const Insn& insn) {
  const u64 base = cpu.s.msr.sysenter_cs & 0xfffc;
  if (!protected_mode(cpu) || base == 0 || cpl(cpu) != 0) return raise(cpu, vec_gp, 0);
  const bool to64 = code64(cpu) && insn.rex_w;
  const u64 mask = size_mask(to64 ? 8 : 4);
  const u64 target = cpu.s.gpr[RDX] & mask, stack = cpu.s.gpr[RCX] & mask;
  if (!canonical(target) || !canonical(stack)) return raise(cpu, vec_gp, 0);
  cpu.s.rip = target;
  cpu.s.gpr[RSP] = stack;
  set_flat(cpu.s.seg[CS], static_cast<u16>((base + (to64 ? 32 : 16)) | 3), to64 ? code64_attr : code32_attr, 3);
  set_flat(cpu.s.seg[SS], static_cast<u16>((base + (to64 ? 40 : 24)) | 3), data_attr, 3);
  mode_changed(cpu);
  return true;
}

}  // namespace nagaya::engine::soft::exec
