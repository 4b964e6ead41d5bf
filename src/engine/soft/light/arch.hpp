// Bits of control registers, RFLAGS and EFER, and small questions about the mode. Source: Intel SDM vol.
// 3, 2.3, 2.5, 2.2.1.
#pragma once
#include "engine/soft/cpu.hpp"

namespace nagaya::engine::soft {

inline constexpr u64 cr0_pe = 1, cr0_mp = 2, cr0_em = 4, cr0_ts = 8, cr0_ne = 0x20, cr0_wp = 1u << 16,
                     cr0_am = 1u << 18, cr0_pg = 1u << 31;
inline constexpr u64 cr4_vme = 1, cr4_tsd = 4, cr4_de = 8, cr4_pse = 0x10, cr4_pae = 0x20, cr4_pge = 0x80,
                     cr4_umip = 1u << 11, cr4_fsgsbase = 1u << 16, cr4_pcide = 1u << 17, cr4_osxsave = 1u << 18,
                     cr4_smep = 1u << 20, cr4_smap = 1u << 21;
inline constexpr u64 efer_sce = 1, efer_lme = 1u << 8, efer_lma = 1u << 10, efer_nxe = 1u << 11;
inline constexpr u64 flag_cf = 1, flag_pf = 4, flag_af = 0x10, flag_zf = 0x40, flag_sf = 0x80, flag_tf = 0x100,
                     flag_if = 0x200, flag_df = 0x400, flag_of = 0x800, flag_iopl = 0x3000, flag_nt = 0x4000,
                     flag_rf = 1u << 16, flag_vm = 1u << 17, flag_ac = 1u << 18, flag_vif = 1u << 19,
                     flag_vip = 1u << 20, flag_id = 1u << 21;

enum Vector : u8 {
  vec_de = 0,
  vec_db = 1,
  vec_nmi = 2,
  vec_bp = 3,
  vec_of = 4,
  vec_br = 5,
  vec_ud = 6,
  vec_nm = 7,
  vec_df = 8,
  vec_ts = 10,
  vec_np = 11,
  vec_ss = 12,
  vec_gp = 13,
  vec_pf = 14,
  vec_mf = 16,
  vec_ac = 17,
  vec_mc = 18,
  vec_xm = 19,
};

inline bool protected_mode(const SoftCpu& cpu) { return cpu.s.cr0 & cr0_pe; }
inline bool v86_mode(const SoftCpu& cpu) { return protected_mode(cpu) && (cpu.s.rflags & flag_vm); }
/// Real or virtual-8086 mode: selectors are paragraphs.
inline bool paragraph_mode(const SoftCpu& cpu) { return !protected_mode(cpu) || v86_mode(cpu); }
inline bool long_mode(const SoftCpu& cpu) { return cpu.s.msr.efer & efer_lma; }
inline bool code64(const SoftCpu& cpu) { return long_mode(cpu) && cpu.s.seg[x86::CS].l(); }
inline unsigned iopl(const SoftCpu& cpu) { return cpu.s.rflags >> 12 & 3; }
/// 48-bit canonical form.
inline bool canonical(u64 address) { return static_cast<u64>(static_cast<i64>(address << 16) >> 16) == address; }

}  // namespace nagaya::engine::soft
