// Control registers and what flushes translations. Source: Intel SDM vol. 3, 2.5, 4.1, 4.10.4; vol. 2, MOV CRn, INVPCID,
// XSETBV.
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/memory.hpp"
#include "engine/soft/light/operand.hpp"
#include "engine/soft/light/paging.hpp"
#include "engine/soft/light/tlb.hpp"

namespace nagaya::engine::soft::exec {
namespace {

constexpr u64 cr0_known = cr0_pe | cr0_mp | cr0_em | cr0_ts | cr0_et | cr0_ne | cr0_wp | cr0_am | cr0_nw | cr0_cd | cr0_pg;

u64 cr4_allowed(const SoftCpu& cpu) {
  u64 allowed = cr4_tsd | cr4_de | cr4_pse | cr4_pae | cr4_mce | cr4_pge | cr4_pce | cr4_osfxsr | cr4_osxmm;
  if (cpuid_feature(cpu, 1, 0, 3, 1)) allowed |= cr4_vme | cr4_pvi;
  if (cpu.features & feat_umip) allowed |= cr4_umip;
  if (cpu.features & feat_fsgsbase) allowed |= cr4_fsgsbase;
  if (cpu.features & feat_pcid) allowed |= cr4_pcide;
  if (cpu.features & feat_xsave) allowed |= cr4_osxsave;
  if (cpu.features & feat_smep) allowed |= cr4_smep;
  if (cpu.features & feat_smap) allowed |= cr4_smap;
  return allowed;
}

u64 physical_mask(const SoftCpu& cpu) { return (u64{1} << cpu.maxphyaddr) - 1; }

/// CR8 is the APIC's; it may only be asked where devices may be called.
bool read_cr8(SoftCpu& cpu, u64& value) {
  if (!require_heavy(cpu)) return false;
  value = cpu.s.cr8;  // execute_heavy() refreshed it from the APIC
  return true;
}
bool write_cr8(SoftCpu& cpu, u64 value) {
  if (value >> 4) return raise(cpu, vec_gp, 0);
  if (!require_heavy(cpu)) return false;
  cpu.s.cr8 = value;  // execute_heavy() hands it to the APIC
  return true;
}

bool read_control(SoftCpu& cpu, unsigned index, u64& value) {
  switch (index) {
    case 0: value = cpu.s.cr0; return true;
    case 2: value = cpu.s.cr2; return true;
    case 3: value = cpu.s.cr3; return true;
    case 4: value = cpu.s.cr4; return true;
    case 8: return read_cr8(cpu, value);
    default: return raise(cpu, vec_ud);
  }
}

bool write_control(SoftCpu& cpu, unsigned index, u64 value) {
  switch (index) {
    case 0: return write_cr0(cpu, value);
    case 2: cpu.s.cr2 = value; return true;
    case 3: return write_cr3(cpu, value);
    case 4: return write_cr4(cpu, value);
    case 8: return write_cr8(cpu, value);
    default: return raise(cpu, vec_ud);
  }
}

}  // namespace

bool move_control(SoftCpu& cpu, const Insn& insn) {
  const unsigned index = insn.reg;
  if (index != 0 && index != 2 && index != 3 && index != 4 && index != 8) return raise(cpu, vec_ud);
  if (!require_cpl0(cpu)) return false;
  const unsigned size = code64(cpu) ? 8 : 4;
  if (insn.opcode == 0x22) return write_control(cpu, index, read_gpr(cpu, insn.rm, size, true));
  u64 value = 0;
  if (!read_control(cpu, index, value)) return false;
  write_gpr(cpu, insn.rm, size, true, value);
  return true;
}

bool write_cr0(SoftCpu& cpu, u64 value) {
  if (value >> 32) return raise(cpu, vec_gp, 0);
  value = (value & cr0_known) | cr0_et;
  const u64 old = cpu.s.cr0, changed = old ^ value;
  if ((value & cr0_pg) && !(value & cr0_pe)) return raise(cpu, vec_gp, 0);
  if ((value & cr0_nw) && !(value & cr0_cd)) return raise(cpu, vec_gp, 0);
  u64 efer = cpu.s.msr.efer;
  if (changed & cr0_pg) {
    if (value & cr0_pg) {
      if (efer & efer_lme) {
        // A 16-bit TSS (busy: type 3) cannot stay loaded in long mode.
        if (!(cpu.s.cr4 & cr4_pae) || cpu.s.seg[CS].l() || cpu.s.tr.type() == 3) return raise(cpu, vec_gp, 0);
        efer |= efer_lma;
      } else if ((cpu.s.cr4 & cr4_pae) && !pdptes_valid(cpu, cpu.s.cr3)) {
        return cpu.need_heavy ? false : raise(cpu, vec_gp, 0);
      }
    } else {
      if (code64(cpu) || (cpu.s.cr4 & cr4_pcide)) return raise(cpu, vec_gp, 0);
      efer &= ~efer_lma;
    }
  }
  cpu.s.cr0 = value;
  cpu.s.msr.efer = efer;
  if (changed & (cr0_pg | cr0_pe)) {
    tlb_flush_all(cpu);
  } else if (changed & cr0_wp) {
    tlb_rights_changed(cpu);
  }
  if (changed) mode_changed(cpu);
  return true;
}

bool write_cr3(SoftCpu& cpu, u64 value) {
  bool keep = false;
  if (long_mode(cpu)) {
    if (cpu.s.cr4 & cr4_pcide) {
      keep = value >> 63;
      value &= ~(u64{1} << 63);
    }
    if (value & ~physical_mask(cpu)) return raise(cpu, vec_gp, 0);
  } else {
    value &= 0xffffffff;
    if ((cpu.s.cr0 & cr0_pg) && (cpu.s.cr4 & cr4_pae) && !pdptes_valid(cpu, value)) {
      return cpu.need_heavy ? false : raise(cpu, vec_gp, 0);
    }
  }
  load_cr3(cpu, value, keep);
  return true;
}

bool write_cr4(SoftCpu& cpu, u64 value) {
  if (value & ~cr4_allowed(cpu)) return raise(cpu, vec_gp, 0);
  const u64 old = cpu.s.cr4, changed = old ^ value;
  if (long_mode(cpu)) {
    if (!(value & cr4_pae)) return raise(cpu, vec_gp, 0);
  } else if ((cpu.s.cr0 & cr0_pg) && (value & cr4_pae) && (changed & (cr4_pae | cr4_pge | cr4_pse | cr4_smep))) {
    if (!pdptes_valid(cpu, cpu.s.cr3)) return cpu.need_heavy ? false : raise(cpu, vec_gp, 0);
  }
  if ((changed & value & cr4_pcide) && (!long_mode(cpu) || (cpu.s.cr3 & 0xfff))) return raise(cpu, vec_gp, 0);
  cpu.s.cr4 = value;
  if (changed & (cr4_pge | cr4_pae | cr4_pse | cr4_smep | cr4_pcide)) {
    tlb_flush_all(cpu);
  } else if (changed & cr4_smap) {
    tlb_rights_changed(cpu);
  }
  if (changed) mode_changed(cpu);
  return true;
}

bool clear_task_switched(SoftCpu& cpu) {
  if (!require_cpl0(cpu)) return false;
  if (!(cpu.s.cr0 & cr0_ts)) return true;
  cpu.s.cr0 &= ~cr0_ts;
  mode_changed(cpu);
  return true;
}

bool invalidate_page(SoftCpu& cpu, const Insn& insn) {
  if (!insn.has_mem) return raise(cpu, vec_ud);
  if (!require_cpl0(cpu)) return false;
  // No segment check; an address that is not canonical invalidates nothing.
  u64 linear = effective_address(cpu, insn);
  if (!code64(cpu)) {
    linear = (linear + cpu.s.seg[insn.seg].base) & 0xffffffff;
  } else if (insn.seg == FS || insn.seg == GS) {
    linear += cpu.s.seg[insn.seg].base;
  }
  if (canonical(linear)) tlb_flush_page(cpu, linear);
  return true;
}

bool invalidate_pcid(SoftCpu& cpu, const Insn& insn) {
  if (!(cpu.features & feat_invpcid) || !insn.has_mem) return raise(cpu, vec_ud);
  if (!require_cpl0(cpu)) return false;
  const u64 type = read_gpr(cpu, insn.reg, code64(cpu) ? 8 : 4, true);
  u64 linear, descriptor[2];
  if (!linear_address(cpu, insn.seg, effective_address(cpu, insn), 16, Access::read, linear)) return false;
  if (!mem_read(cpu, linear, descriptor, 16, current_kind(cpu))) return false;
  if (type > 3 || (descriptor[0] >> 12)) return raise(cpu, vec_gp, 0);
  const auto pcid = static_cast<unsigned>(descriptor[0]);
  if (type <= 1 && pcid != 0 && !(cpu.s.cr4 & cr4_pcide)) return raise(cpu, vec_gp, 0);
  switch (type) {
    case 0:
      if (!canonical(descriptor[1])) return raise(cpu, vec_gp, 0);
      tlb_flush_page_pcid(cpu, descriptor[1], pcid);
      return true;
    case 1: tlb_flush_pcid(cpu, pcid); return true;
    case 2: tlb_flush_all(cpu); return true;
    default: tlb_flush_all_nonglobal(cpu); return true;
  }
}

bool flush_cache_line(SoftCpu& cpu, const Insn& insn) {
  if (!insn.has_mem) return raise(cpu, vec_ud);
  // Caches are coherent here, so that only the checks of a one-byte read remain.
  u64 linear;
  if (!linear_address(cpu, insn.seg, effective_address(cpu, insn), 1, Access::read, linear)) return false;
  return locate(cpu, linear, Access::read, current_kind(cpu)).kind != PlaceKind::fault;
}

bool get_extended_control(SoftCpu& cpu) {
  if (!(cpu.s.cr4 & cr4_osxsave)) return raise(cpu, vec_ud);
  u64 value = cpu.s.xcr0;
  switch (static_cast<u32>(cpu.s.gpr[RCX])) {
    case 0: break;
    case 1: {
      if (!cpuid_feature(cpu, 0xd, 1, 0, 2)) return raise(cpu, vec_gp, 0);
      if (!require_heavy(cpu)) return false;  // XINUSE is known once the vector state is in the image
      u64 in_use;
      __builtin_memcpy(&in_use, cpu.s.xsave.data() + 512, 8);
      value &= in_use;
      break;
    }
    default: return raise(cpu, vec_gp, 0);
  }
  cpu.s.gpr[RAX] = value & 0xffffffff;
  cpu.s.gpr[RDX] = value >> 32;
  return true;
}

bool set_extended_control(SoftCpu& cpu) {
  if (!(cpu.s.cr4 & cr4_osxsave)) return raise(cpu, vec_ud);
  if (!require_cpl0(cpu)) return false;
  const u64 value = cpu.s.gpr[RDX] << 32 | (cpu.s.gpr[RAX] & 0xffffffff);
  constexpr u64 avx512 = 0xe0;
  const bool valid = static_cast<u32>(cpu.s.gpr[RCX]) == 0 && (value & 1) && !(value & ~cpu.host_xcr0) &&
                     (!(value & 4) || (value & 2)) &&
                     (!(value & avx512) || ((value & avx512) == avx512 && (value & 4)));
  if (!valid) return raise(cpu, vec_gp, 0);
  cpu.s.xcr0 = value;
  mode_changed(cpu);
  return true;
}

}  // namespace nagaya::engine::soft::exec
