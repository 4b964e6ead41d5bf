// One decoded instruction in the compact form that C++ execution uses. Made by decode.cpp from Zydis' result.
#pragma once
#include "base/types.hpp"

namespace nagaya::engine::soft {

inline constexpr u8 no_reg = 0xff;
inline constexpr u8 rip_reg = 0xfe;

struct Insn {
  u16 mnemonic = 0;   ///< ZydisMnemonic
  u8 length = 0;      ///< bytes
  u8 opsize = 0;      ///< effective operand size in bytes: 1, 2, 4, 8 (memory operand: mem_size)
  u8 addrsize = 0;    ///< 2, 4, 8
  u8 stack_size = 0;  ///< stack-address width in bytes: 2, 4, 8
  u8 opcode = 0;      ///< last opcode byte
  u8 opcode_map = 0;  ///< 0 one-byte, 1 0F, 2 0F38, 3 0F3A
  u8 modrm = 0;
  u8 reg = no_reg;  ///< ModRM.reg with REX.R
  u8 rm = no_reg;   ///< ModRM.rm with REX.B, when mod == 3; also the register in the opcode (BSWAP, PUSH r…)
  bool has_modrm = false, has_mem = false, rep = false, repne = false, lock = false, rex = false;
  u8 seg = 3;  ///< segment of the memory operand (x86::Seg), overrides applied
  u8 base = no_reg, index = no_reg, scale = 1;
  u16 mem_size = 0;  ///< bytes of the memory operand
  i64 disp = 0;      ///< with base == rip_reg: relative to the next instruction
  u64 imm = 0;       ///< sign-extended where the instruction does so; branch: relative displacement (sign-extended)
  u64 imm2 = 0;      ///< ENTER's level, the selector of a direct far transfer
  // --- VEX and EVEX forms; reg, rm, vvvv and the index of a VSIB operand are vector register numbers 0..31 there
  u8 vvvv = no_reg;  ///< the extra source register (VEX.vvvv, with EVEX.V')
  u8 kmask = 0;      ///< EVEX.aaa: opmask register, 0 = none
  u8 vlen = 0;       ///< vector length in bytes: 16, 32, 64; MMX forms 8
  bool zeroing = false, vex = false, evex = false, rex_w = false;  ///< rex_w: REX.W, VEX.W or EVEX.W
  // `disp` of an EVEX operand has its disp8*N scaling applied.
};

}  // namespace nagaya::engine::soft
