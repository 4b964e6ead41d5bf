// What the functions that execute single instructions share: mode predicates, registers, operands, the stack, branches.
// All inline and light.
#pragma once
#include "engine/soft/light/arch.hpp"
#include "engine/soft/light/stack.hpp"
#include "engine/soft/system.hpp"

namespace nagaya::engine::soft::exec {

using x86::CS, x86::DS, x86::ES, x86::FS, x86::GS, x86::SS;
using x86::RAX, x86::RBP, x86::RBX, x86::RCX, x86::RDI, x86::RDX, x86::RSI, x86::RSP;

inline constexpr u64 cr0_et = 0x10, cr0_nw = 1u << 29, cr0_cd = 1u << 30;
inline constexpr u64 cr4_pvi = 2, cr4_mce = 0x40, cr4_pce = 0x100, cr4_osfxsr = 0x200, cr4_osxmm = 0x400, cr4_pke = 1u << 22;
inline constexpr u64 efer_ffxsr = 1u << 14;
inline constexpr u64 arithmetic_flags = flag_cf | flag_pf | flag_af | flag_zf | flag_sf | flag_of;

/// For what only CPL 0 may do; real mode counts as 0, virtual-8086 mode as 3.
inline bool require_cpl0(SoftCpu& cpu) { return cpl(cpu) == 0 || raise(cpu, vec_gp, 0); }
inline bool require_heavy(SoftCpu& cpu) {
  if (cpu.heavy) return true;
  cpu.need_heavy = true;
  return false;
}

/// All ones in the low `bytes` bytes (1, 2, 4, 8).
constexpr u64 size_mask(unsigned bytes) { return bytes >= 8 ? ~u64{0} : (u64{1} << (8 * bytes)) - 1; }
constexpr u64 sign_bit(unsigned bytes) { return u64{1} << (8 * bytes - 1); }

// ---- registers

/// General register of 1, 2, 4 or 8 bytes; bytes 4..7 are AH..BH without a REX prefix.
inline u64 read_gpr(const SoftCpu& cpu, u8 reg, unsigned size, bool rex) {
  if (size == 1 && !rex && reg >= 4 && reg < 8) return cpu.s.gpr[reg & 3] >> 8 & 0xff;
  return cpu.s.gpr[reg & 15] & size_mask(size);
}
/// Writes as the processor does: 4 bytes clear the upper half, 1 and 2 keep the rest.
inline void write_gpr(SoftCpu& cpu, u8 reg, unsigned size, bool rex, u64 value) {
  if (size == 1 && !rex && reg >= 4 && reg < 8) {
    u64& r = cpu.s.gpr[reg & 3];
    r = (r & ~u64{0xff00}) | (value & 0xff) << 8;
    return;
  }
  u64& r = cpu.s.gpr[reg & 15];
  if (size >= 4) {
    r = value & size_mask(size);
  } else {
    r = (r & ~size_mask(size)) | (value & size_mask(size));
  }
}

// ---- memory operands

/// Offset of the memory operand within its segment.
inline u64 effective_address(const SoftCpu& cpu, const Insn& insn) {
  u64 at = static_cast<u64>(insn.disp);
  if (insn.base == rip_reg) {
    at += cpu.s.rip + insn.length;
  } else if (insn.base != no_reg) {
    at += cpu.s.gpr[insn.base & 15];
  }
  if (insn.index != no_reg) at += cpu.s.gpr[insn.index & 15] * insn.scale;
  return at & size_mask(insn.addrsize);
}

inline bool load(SoftCpu& cpu, u8 seg, u64 offset, unsigned size, u64& value) {
  u64 linear, bytes = 0;
  if (!linear_address(cpu, seg, offset, size, Access::read, linear)) return false;
  if (!mem_read(cpu, linear, &bytes, size, current_kind(cpu))) return false;
  value = bytes;
  return true;
}
inline bool store(SoftCpu& cpu, u8 seg, u64 offset, unsigned size, u64 value) {
  u64 linear;
  if (!linear_address(cpu, seg, offset, size, Access::write, linear)) return false;
  return mem_write(cpu, linear, &value, size, current_kind(cpu));
}
/// The r/m operand, register or memory.
inline bool read_rm(SoftCpu& cpu, const Insn& insn, unsigned size, u64& value) {
  if (insn.has_mem) return load(cpu, insn.seg, effective_address(cpu, insn), size, value);
  value = read_gpr(cpu, insn.rm, size, insn.rex);
  return true;
}
inline bool write_rm(SoftCpu& cpu, const Insn& insn, unsigned size, u64 value) {
  if (insn.has_mem) return store(cpu, insn.seg, effective_address(cpu, insn), size, value);
  write_gpr(cpu, insn.rm, size, insn.rex, value);
  return true;
}

// ---- the stack

/// Width in bytes of the stack address (SS.B, or 8 in 64-bit mode).
inline unsigned stack_width(const SoftCpu& cpu) { return code64(cpu) ? 8 : cpu.s.seg[SS].db() ? 4 : 2; }
/// Writes the stack pointer: a 16-bit one keeps the upper bits.
inline void set_sp(SoftCpu& cpu, unsigned width, u64 value) { write_gpr(cpu, RSP, width, true, value); }
/// The value on top, `skip` bytes up; RSP stays.
inline bool peek(SoftCpu& cpu, unsigned size, u64& value, u64 skip = 0) {
  return load(cpu, SS, (cpu.s.gpr[RSP] + skip) & size_mask(stack_width(cpu)), size, value);
}
/// Removes `bytes` from the stack.
inline void drop(SoftCpu& cpu, u64 bytes) { set_sp(cpu, stack_width(cpu), cpu.s.gpr[RSP] + bytes); }

// ---- control flow

inline u64 next_rip(const SoftCpu& cpu, const Insn& insn) {
  const u64 next = cpu.s.rip + insn.length;
  return code64(cpu) ? next : next & 0xffffffff;
}
inline bool advance(SoftCpu& cpu, const Insn& insn) {
  cpu.s.rip = next_rip(cpu, insn);
  return true;
}
/// Truncates a near branch's target and checks it: canonical in 64-bit mode, within CS otherwise. Raises #GP(0).
inline bool check_target(SoftCpu& cpu, u64& target, unsigned opsize) {
  if (code64(cpu)) {
    target &= size_mask(opsize);
    return canonical(target) || raise(cpu, vec_gp, 0);
  }
  target &= size_mask(opsize > 4 ? 4 : opsize);
  return target <= cpu.s.seg[CS].limit || raise(cpu, vec_gp, 0);
}

inline bool flag(const SoftCpu& cpu, u64 bit) { return cpu.s.rflags & bit; }
inline void set_flag(SoftCpu& cpu, u64 bit, bool on) { cpu.s.rflags = on ? cpu.s.rflags | bit : cpu.s.rflags & ~bit; }

/// The condition in the low four bits of Jcc, SETcc and CMOVcc opcodes.
inline bool condition(const SoftCpu& cpu, u8 code) {
  bool yes = false;
  switch (code >> 1 & 7) {
    case 0: yes = flag(cpu, flag_of); break;
    case 1: yes = flag(cpu, flag_cf); break;
    case 2: yes = flag(cpu, flag_zf); break;
    case 3: yes = flag(cpu, flag_cf | flag_zf); break;
    case 4: yes = flag(cpu, flag_sf); break;
    case 5: yes = flag(cpu, flag_pf); break;
    case 6: yes = flag(cpu, flag_sf) != flag(cpu, flag_of); break;
    case 7: yes = flag(cpu, flag_zf) || flag(cpu, flag_sf) != flag(cpu, flag_of); break;
  }
  return yes != static_cast<bool>(code & 1);
}

inline u64 host_tsc() {
  u32 low, high;
  asm volatile("rdtsc" : "=a"(low), "=d"(high));
  return static_cast<u64>(high) << 32 | low;
}
inline u64 guest_tsc(const SoftCpu& cpu) { return host_tsc() + cpu.tsc_offset; }

}  // namespace nagaya::engine::soft::exec
