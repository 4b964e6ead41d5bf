// The decimal adjustments that 64-bit mode lacks. The flags that manuals leave undefined are given as processors since the
// Pentium Pro do: AAA and AAS leave CF and AF by rule and SF, ZF, PF from AL, OF 0; DAA and DAS the same with OF 0.
// Source: Intel SDM vol. 2.
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/operand.hpp"

namespace nagaya::engine::soft::exec {
namespace {

void set_result_flags(SoftCpu& cpu, u8 result, bool carry, bool adjust) {
  u64 flags = cpu.s.rflags & ~arithmetic_flags;
  if (result == 0) flags |= flag_zf;
  if (result & 0x80) flags |= flag_sf;
  u8 parity = result;
  parity ^= parity >> 4;
  if ((0x9669 >> (parity & 15)) & 1) flags |= flag_pf;
  if (carry) flags |= flag_cf;
  if (adjust) flags |= flag_af;
  cpu.s.rflags = flags;
}

void set_ax(SoftCpu& cpu, u8 al, u8 ah) { write_gpr(cpu, RAX, 2, true, al | u64{ah} << 8); }

/// AAA, AAS: `sign` +1 or -1.
void ascii_adjust(SoftCpu& cpu, int sign) {
  u8 al = static_cast<u8>(cpu.s.gpr[RAX]), ah = static_cast<u8>(cpu.s.gpr[RAX] >> 8);
  const bool adjust = (al & 15) > 9 || flag(cpu, flag_af);
  if (adjust) {
    const u16 ax = static_cast<u16>((al | ah << 8) + sign * 0x106);
    al = static_cast<u8>(ax);
    ah = static_cast<u8>(ax >> 8);
  }
  al &= 15;
  set_ax(cpu, al, ah);
  set_result_flags(cpu, al, adjust, adjust);
}

/// DAA, DAS.
void decimal_adjust(SoftCpu& cpu, int sign) {
  const u8 old = static_cast<u8>(cpu.s.gpr[RAX]);
  const bool old_carry = flag(cpu, flag_cf);
  u8 al = old;
  bool carry = false, adjust = false;
  if ((al & 15) > 9 || flag(cpu, flag_af)) {
    carry = old_carry || (sign > 0 ? al > 0xf9 : al < 6);
    al = static_cast<u8>(al + sign * 6);
    adjust = true;
  }
  if (old > 0x99 || old_carry) {
    al = static_cast<u8>(al + sign * 0x60);
    carry = true;
  } else if (sign > 0) {
    carry = false;
  }
  write_gpr(cpu, RAX, 1, true, al);
  set_result_flags(cpu, al, carry, adjust);
}

}  // namespace

bool decimal(SoftCpu& cpu, const Insn& insn) {
  const u8 al = static_cast<u8>(cpu.s.gpr[RAX]), ah = static_cast<u8>(cpu.s.gpr[RAX] >> 8), base = static_cast<u8>(insn.imm);
  switch (insn.opcode) {
    case 0x27: decimal_adjust(cpu, 1); break;
    case 0x2f: decimal_adjust(cpu, -1); break;
    case 0x37: ascii_adjust(cpu, 1); break;
    case 0x3f: ascii_adjust(cpu, -1); break;
    case 0xd4:
      if (base == 0) return raise(cpu, vec_de);
      set_ax(cpu, al % base, al / base);
      set_result_flags(cpu, al % base, false, false);
      break;
    default: {
      const u8 result = static_cast<u8>(al + ah * base);
      set_ax(cpu, result, 0);
      set_result_flags(cpu, result, false, false);
      break;
    }
  }
  return true;
}

}  // namespace nagaya::engine::soft::exec
