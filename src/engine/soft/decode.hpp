// Decoder front: Zydis' result boiled down to what the translator needs, with the policy of the instruction table applied.
#pragma once
#include <span>

#include "engine/soft/insn.hpp"

namespace nagaya::engine::soft {

/// What the translator does with an instruction.
enum class Kind : u8 {
  native,    ///< re-encoded with renamed registers and a translated address
  nothing,   ///< no architectural effect worth a byte (NOP, PREFETCH, CLFLUSH …)
  execute,   ///< by C++ (execute/execute_heavy); ends the block
  execute_inline,  ///< by C++, and the block goes on: what cannot change the block's mode
  undefined, ///< #UD
  lea,
  push_reg, push_imm, push_mem, pop_reg, pop_mem, leave,
  jmp_rel, jcc_rel, jmp_rm, call_rel, call_rm, ret,
  jcxz, loop,       ///< JRCXZ family; LOOP/LOOPE/LOOPNE
  bit_string,       ///< BT family with a register bit offset into memory
};

/// Which unit an instruction uses, for the CR0/CR4/XCR0 checks before it.
enum class Unit : u8 { integer, x87, mmx, sse, avx, avx512 };

/// Where a general register is encoded.
enum class RegPlace : u8 { modrm_reg, modrm_rm, opcode, vvvv };
struct GprOperand {
  RegPlace place;
  u8 reg;    ///< guest number 0..15; for high bytes 0..3 (AH = RAX …)
  u8 size;   ///< bytes
  bool high8, read, write;
};

enum class Encoding : u8 { legacy, vex, evex };

inline constexpr u32 arithmetic_flags = 0x8d5;  // OF SF ZF AF PF CF

struct Decoded {
  Insn insn;
  Kind kind = Kind::undefined;
  Unit unit = Unit::integer;
  u16 offset = 0;  ///< of the first byte, from the start of its page
  u8 bytes[16];
  // re-encoding
  Encoding encoding = Encoding::legacy;
  u8 payload = 0;      ///< offset in `bytes` of VEX/EVEX prefix
  u8 mandatory = 0;    ///< 0, F2 or F3
  bool prefix66 = false, lock = false, rex = false, rex_w = false, address32 = false;
  bool modrm_is_register_form = false;
  u8 imm_offset = 0, imm_size = 0;  ///< trailing immediate bytes (all of them)
  u8 disp_offset = 0, disp_size = 0;  ///< displacement bytes
  bool varies = false;  ///< other displacements and immediates change nothing but `insn.disp` and `insn.imm` (decode_memo.hpp)
  bool imm_signed = false;
  u8 gpr_count = 0;
  GprOperand gpr[4];
  u16 implicit_writes = 0;  ///< general registers written without being named, a bit each
  bool rcx_in = false, rcx_out = false;  ///< implicit RCX/ECX/CX/CL
  bool mem_read = false, mem_write = false, masked = false;
  bool aligned = false;  ///< the memory operand must be aligned to its size
  // flags, as bits of RFLAGS
  u32 flags_read = 0, flags_kill = 0;
  u32 flags_live = arithmetic_flags;  ///< live before the instruction (filled by the translator)
  bool ends_block = false;
};

enum class CodeSize : u8 { bits16 = 0, bits32 = 1, bits64 = 2 };

enum class DecodeStatus : u8 { ok, need_more, invalid };

/// Decodes one instruction. `need_more`: the bytes given (fewer than 15) do not hold all of it. `invalid`: #UD (or #GP for one
/// longer than 15 bytes: `out.insn.length` is then 16).
DecodeStatus decode(CodeSize size, bool stack32, std::span<const u8> bytes, Decoded& out);

}  // namespace nagaya::engine::soft
