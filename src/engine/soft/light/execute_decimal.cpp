// The decimal adjustments that 64-bit mode lacks. The flags that manuals leave undefined are those of the addition or
// subtraction inside (of AL; in AAA and AAS of AX, before the upper half of AL is cleared), as AMD processors give them;
// exec_decimal_test compares with the host. Source: Intel SDM vol. 2.
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/operand.hpp"

namespace nagaya::engine::soft::exec {
namespace {

/// `a` plus or minus `b` by the host, with all six flags.
#define NAGAYA_SUM(op, a, b, flags)                                                                              \
  asm(op " %[y], %[x]\n\tlea -128(%%rsp), %%rsp\n\tpushfq\n\tpopq %[f]\n\tlea 128(%%rsp), %%rsp"              \
      : [x] "+q"(a), [f] "=&r"(flags)                                                                            \
      : [y] "q"(b)                                                                                               \
      : "cc")
u8 byte_sum(u8 a, u8 b, bool subtract, u64& flags) {
  if (subtract) {
    NAGAYA_SUM("subb", a, b, flags);
  } else {
    NAGAYA_SUM("addb", a, b, flags);
  }
  return a;
}
u16 word_sum(u16 a, u16 b, bool subtract, u64& flags) {
  if (subtract) {
    NAGAYA_SUM("subw", a, b, flags);
  } else {
    NAGAYA_SUM("addw", a, b, flags);
  }
  return a;
}
#undef NAGAYA_SUM

void set_flags(SoftCpu& cpu, u64 flags) { cpu.s.rflags = (cpu.s.rflags & ~arithmetic_flags) | (flags & arithmetic_flags); }
u64 with_carries(u64 flags, bool carry, bool adjust) {
  return (flags & ~(flag_cf | flag_af)) | (carry ? flag_cf : 0) | (adjust ? flag_af : 0);
}

void set_ax(SoftCpu& cpu, u8 al, u8 ah) { write_gpr(cpu, RAX, 2, true, al | u64{ah} << 8); }

/// AAA, AAS: the sum is one of AX, so that AH takes the carry out of AL as well.
void ascii_adjust(SoftCpu& cpu, bool subtract) {
  const bool adjust = (cpu.s.gpr[RAX] & 15) > 9 || flag(cpu, flag_af);
  u64 flags;
  const u16 ax = word_sum(static_cast<u16>(cpu.s.gpr[RAX]), adjust ? 0x106 : 0, subtract, flags);
  set_ax(cpu, ax & 15, static_cast<u8>(ax >> 8));
  set_flags(cpu, with_carries(flags, adjust, adjust));
}

/// DAA, DAS.
void decimal_adjust(SoftCpu& cpu, bool subtract) {
  const u8 al = static_cast<u8>(cpu.s.gpr[RAX]);
  const bool low = (al & 15) > 9 || flag(cpu, flag_af), high = al > 0x99 || flag(cpu, flag_cf);
  u64 flags;
  const u8 result = byte_sum(al, static_cast<u8>((low ? 6 : 0) + (high ? 0x60 : 0)), subtract, flags);
  const bool borrow = subtract && low && al < 6;
  write_gpr(cpu, RAX, 1, true, result);
  set_flags(cpu, with_carries(flags, high || borrow, low));
}

}  // namespace

bool decimal(SoftCpu& cpu, const Insn& insn) {
  const u8 al = static_cast<u8>(cpu.s.gpr[RAX]), ah = static_cast<u8>(cpu.s.gpr[RAX] >> 8), base = static_cast<u8>(insn.imm);
  switch (insn.opcode) {
    case 0x27: decimal_adjust(cpu, false); break;
    case 0x2f: decimal_adjust(cpu, true); break;
    case 0x37: ascii_adjust(cpu, false); break;
    case 0x3f: ascii_adjust(cpu, true); break;
    case 0xd4: {
      if (base == 0) return raise(cpu, vec_de);
      u64 flags;
      const u8 rest = byte_sum(static_cast<u8>(al % base), 0, false, flags);
      set_ax(cpu, rest, al / base);
      set_flags(cpu, flags);
      break;
    }
    default: {
      u64 flags;
      set_ax(cpu, byte_sum(al, static_cast<u8>(ah * base), false, flags), 0);
      set_flags(cpu, flags);
      break;
    }
  }
  return true;
}

}  // namespace nagaya::engine::soft::exec
