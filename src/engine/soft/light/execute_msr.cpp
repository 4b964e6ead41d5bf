// RDMSR and WRMSR, and the registers that are the processor's own: EFER, system calls, segment bases, time.
// Source: Intel SDM vol. 4; AMD APM vol. 2, appendix A.
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/operand.hpp"
#include "engine/soft/light/tlb.hpp"

namespace nagaya::engine::soft::exec {
namespace {

enum Msr : u32 {
  msr_tsc = 0x10, msr_tsc_adjust = 0x3b, msr_sysenter_cs = 0x174, msr_sysenter_esp = 0x175, msr_sysenter_eip = 0x176,
  msr_apic_base = 0x1b, msr_tsc_deadline = 0x6e0, msr_xss = 0xda0, msr_efer = 0xc0000080, msr_star = 0xc0000081,
  msr_lstar = 0xc0000082, msr_cstar = 0xc0000083, msr_sfmask = 0xc0000084, msr_fs_base = 0xc0000100,
  msr_gs_base = 0xc0000101, msr_kernel_gs_base = 0xc0000102, msr_tsc_aux = 0xc0000103,
};

bool is_apic_msr(u32 index) {
  return index == msr_apic_base || index == msr_tsc_deadline || (index >= 0x800 && index <= 0x8ff);
}

bool lm_offered(const SoftCpu& cpu) { return cpuid_feature(cpu, 0x80000001, 0, 3, 29); }

MsrAnswer write_efer(SoftCpu& cpu, u64 value) {
  u64 allowed = efer_lma;  // follows CR0.PG; the written bit does not matter
  if (cpu.features & feat_syscall) allowed |= efer_sce;
  if (cpu.features & feat_nx) allowed |= efer_nxe;
  if (lm_offered(cpu)) allowed |= efer_lme;
  if (cpuid_feature(cpu, 0x80000001, 0, 3, 25)) allowed |= efer_ffxsr;
  const u64 old = cpu.s.msr.efer;
  if (value & ~allowed) return MsrAnswer::refused;
  if (((value ^ old) & efer_lme) && (cpu.s.cr0 & cr0_pg)) return MsrAnswer::refused;
  cpu.s.msr.efer = (value & ~efer_lma) | (old & efer_lma);
  if ((value ^ old) & efer_nxe) tlb_flush_all(cpu);
  mode_changed(cpu);
  return MsrAnswer::done;
}

MsrAnswer write_segment_base(SoftCpu& cpu, u8 seg, u64 value) {
  if (!canonical(value)) return MsrAnswer::refused;
  cpu.s.seg[seg].base = value;
  cpu.lin_seg_base[seg] = value;
  return MsrAnswer::done;
}

MsrAnswer store_canonical(u64& field, u64 value) {
  if (!canonical(value)) return MsrAnswer::refused;
  field = value;
  return MsrAnswer::done;
}

/// The TSC moves by `delta`. execute_heavy() tells the APIC and the paravirtual clock.
MsrAnswer move_tsc(SoftCpu& cpu, u64 delta) {
  if (!cpu.heavy) return MsrAnswer::heavy;
  cpu.tsc_offset += delta;
  cpu.s.msr.tsc_adjust += delta;
  return MsrAnswer::done;
}

MsrAnswer read_own(SoftCpu& cpu, u32 index, u64& value) {
  const auto& m = cpu.s.msr;
  switch (index) {
    case msr_tsc: value = guest_tsc(cpu); break;
    case msr_tsc_adjust: value = m.tsc_adjust; break;
    case msr_sysenter_cs: value = m.sysenter_cs; break;
    case msr_sysenter_esp: value = m.sysenter_esp; break;
    case msr_sysenter_eip: value = m.sysenter_eip; break;
    case msr_xss: value = m.xss; break;
    case msr_efer: value = m.efer; break;
    case msr_star: value = m.star; break;
    case msr_lstar: value = m.lstar; break;
    case msr_cstar: value = m.cstar; break;
    case msr_sfmask: value = m.sfmask; break;
    case msr_fs_base: value = cpu.s.seg[FS].base; break;
    case msr_gs_base: value = cpu.s.seg[GS].base; break;
    case msr_kernel_gs_base: value = m.kernel_gs_base; break;
    case msr_tsc_aux: value = m.tsc_aux; break;
    default: return MsrAnswer::unknown;
  }
  return MsrAnswer::done;
}

MsrAnswer write_own(SoftCpu& cpu, u32 index, u64 value) {
  auto& m = cpu.s.msr;
  switch (index) {
    case msr_tsc: return move_tsc(cpu, value - guest_tsc(cpu));
    case msr_tsc_adjust: return move_tsc(cpu, value - m.tsc_adjust);
    case msr_sysenter_cs: m.sysenter_cs = value; break;
    case msr_sysenter_esp: return store_canonical(m.sysenter_esp, value);
    case msr_sysenter_eip: return store_canonical(m.sysenter_eip, value);
    case msr_xss: return value ? MsrAnswer::refused : MsrAnswer::done;  // no supervisor component is offered
    case msr_efer: return write_efer(cpu, value);
    case msr_star: m.star = value; break;
    case msr_lstar: return store_canonical(m.lstar, value);
    case msr_cstar: return store_canonical(m.cstar, value);
    case msr_sfmask: m.sfmask = value & 0xffffffff; break;
    case msr_fs_base: return write_segment_base(cpu, FS, value);
    case msr_gs_base: return write_segment_base(cpu, GS, value);
    case msr_kernel_gs_base: return store_canonical(m.kernel_gs_base, value);
    case msr_tsc_aux:
      if (!(cpu.features & (feat_rdtscp | feat_rdpid)) || value >> 32) return MsrAnswer::refused;
      m.tsc_aux = value;
      break;
    default: return MsrAnswer::unknown;
  }
  return MsrAnswer::done;
}

bool answered(SoftCpu& cpu, MsrAnswer answer) {
  switch (answer) {
    case MsrAnswer::done: return true;
    case MsrAnswer::heavy: cpu.need_heavy = true; return false;
    case MsrAnswer::unknown: ++cpu.count.unknown_msr; [[fallthrough]];
    default: return raise(cpu, vec_gp, 0);
  }
}

}  // namespace

bool read_msr(SoftCpu& cpu, u32 index, u64& value) {
  if (is_apic_msr(index)) return answered(cpu, cpu.heavy ? MsrAnswer::unknown : MsrAnswer::heavy);
  auto answer = read_own(cpu, index, value);
  if (answer == MsrAnswer::unknown) answer = read_memory_type_msr(cpu, index, value);
  if (answer == MsrAnswer::unknown) answer = read_kvm_msr(cpu, index, value);
  if (answer == MsrAnswer::unknown) answer = read_benign_msr(cpu, index, value);
  return answered(cpu, answer);
}

bool write_msr(SoftCpu& cpu, u32 index, u64 value) {
  if (is_apic_msr(index)) return answered(cpu, cpu.heavy ? MsrAnswer::unknown : MsrAnswer::heavy);
  auto answer = write_own(cpu, index, value);
  if (answer == MsrAnswer::unknown) answer = write_memory_type_msr(cpu, index, value);
  if (answer == MsrAnswer::unknown) answer = write_kvm_msr(cpu, index, value);
  if (answer == MsrAnswer::unknown) answer = write_benign_msr(cpu, index, value);
  return answered(cpu, answer);
}

bool read_msr_instruction(SoftCpu& cpu) {
  if (!require_cpl0(cpu)) return false;
  u64 value = 0;
  if (!read_msr(cpu, static_cast<u32>(cpu.s.gpr[RCX]), value)) return false;
  cpu.s.gpr[RAX] = value & 0xffffffff;
  cpu.s.gpr[RDX] = value >> 32;
  return true;
}

bool write_msr_instruction(SoftCpu& cpu) {
  if (!require_cpl0(cpu)) return false;
  const u64 value = cpu.s.gpr[RDX] << 32 | (cpu.s.gpr[RAX] & 0xffffffff);
  return write_msr(cpu, static_cast<u32>(cpu.s.gpr[RCX]), value);
}

}  // namespace nagaya::engine::soft::exec
