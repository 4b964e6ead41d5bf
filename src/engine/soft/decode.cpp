#include "engine/soft/decode.hpp"

#include <Zydis/Zydis.h>

#include <cstring>

namespace nagaya::engine::soft {
namespace {

struct Decoders {
  ZydisDecoder d16, d16_s32, d32, d32_s16, d64;
  Decoders() {
    ZydisDecoderInit(&d16, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
    ZydisDecoderInit(&d16_s32, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_32);
    ZydisDecoderInit(&d32, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    ZydisDecoderInit(&d32_s16, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_16);
    ZydisDecoderInit(&d64, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    for (ZydisDecoder* d : {&d16, &d16_s32, &d32, &d32_s16, &d64}) {
      // Zydis decodes some extensions by default that the engine does not carry; their bytes have another meaning or #UD.
      ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
      ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_KNC, ZYAN_FALSE);
    }
  }
};

const ZydisDecoder& decoder_for(CodeSize size, bool stack32) {
  static const Decoders all;
  if (size == CodeSize::bits64) return all.d64;
  if (size == CodeSize::bits32) return stack32 ? all.d32 : all.d32_s16;
  return stack32 ? all.d16_s32 : all.d16;
}

struct RegInfo {
  bool gpr = false;
  u8 number = no_reg, size = 0;
  bool high8 = false;
};

RegInfo reg_info(ZydisRegister r) {
  RegInfo out;
  if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH) return {true, static_cast<u8>(r - ZYDIS_REGISTER_AH), 1, true};
  switch (ZydisRegisterGetClass(r)) {
    case ZYDIS_REGCLASS_GPR8: out.size = 1; break;
    case ZYDIS_REGCLASS_GPR16: out.size = 2; break;
    case ZYDIS_REGCLASS_GPR32: out.size = 4; break;
    case ZYDIS_REGCLASS_GPR64: out.size = 8; break;
    default: return out;
  }
  out.gpr = true;
  if (out.size == 1 && r >= ZYDIS_REGISTER_SPL) {
    out.number = static_cast<u8>(r - ZYDIS_REGISTER_SPL + 4);  // SPL BPL SIL DIL R8B …
  } else {
    out.number = static_cast<u8>(ZydisRegisterGetId(r));
  }
  return out;
}

u8 address_reg(ZydisRegister r) {
  if (r == ZYDIS_REGISTER_NONE) return no_reg;
  if (r == ZYDIS_REGISTER_RIP || r == ZYDIS_REGISTER_EIP || r == ZYDIS_REGISTER_IP) return rip_reg;
  return static_cast<u8>(ZydisRegisterGetId(r));
}

u8 segment_number(ZydisRegister r) {
  switch (r) {
    case ZYDIS_REGISTER_ES: return 0;
    case ZYDIS_REGISTER_CS: return 1;
    case ZYDIS_REGISTER_SS: return 2;
    case ZYDIS_REGISTER_FS: return 4;
    case ZYDIS_REGISTER_GS: return 5;
    default: return 3;
  }
}

/// Extensions whose instructions run natively, with the unit they use. Everything absent is either executed in C++ or #UD.
bool native_extension(const ZydisDecodedInstruction& z, Unit& unit) {
  switch (z.meta.isa_ext) {
    case ZYDIS_ISA_EXT_BASE:
    case ZYDIS_ISA_EXT_LONGMODE:
    case ZYDIS_ISA_EXT_ADOX_ADCX:
    case ZYDIS_ISA_EXT_BMI1:
    case ZYDIS_ISA_EXT_BMI2:
    case ZYDIS_ISA_EXT_LZCNT:
    case ZYDIS_ISA_EXT_MOVBE:
    case ZYDIS_ISA_EXT_RDRAND:
    case ZYDIS_ISA_EXT_RDSEED:
    case ZYDIS_ISA_EXT_PAUSE: unit = Unit::integer; return true;
    case ZYDIS_ISA_EXT_X87: unit = Unit::x87; return true;
    case ZYDIS_ISA_EXT_MMX: unit = Unit::mmx; return true;
    case ZYDIS_ISA_EXT_SSE:
    case ZYDIS_ISA_EXT_SSE2:
    case ZYDIS_ISA_EXT_SSE3:
    case ZYDIS_ISA_EXT_SSSE3:
    case ZYDIS_ISA_EXT_SSE4:
    case ZYDIS_ISA_EXT_SSE4A:
    case ZYDIS_ISA_EXT_AES:
    case ZYDIS_ISA_EXT_PCLMULQDQ:
    case ZYDIS_ISA_EXT_SHA: unit = Unit::sse; break;
    case ZYDIS_ISA_EXT_GFNI: unit = Unit::sse; break;
    case ZYDIS_ISA_EXT_AVX:
    case ZYDIS_ISA_EXT_AVX2:
    case ZYDIS_ISA_EXT_AVXAES:
    case ZYDIS_ISA_EXT_AVX_VNNI:
    case ZYDIS_ISA_EXT_F16C:
    case ZYDIS_ISA_EXT_FMA:
    case ZYDIS_ISA_EXT_VAES:
    case ZYDIS_ISA_EXT_VPCLMULQDQ: unit = Unit::avx; break;
    case ZYDIS_ISA_EXT_AVX512EVEX:
    case ZYDIS_ISA_EXT_AVX512VEX: unit = Unit::avx512; break;
    default: return false;
  }
  if (unit == Unit::sse) {
    switch (z.mnemonic) {
      case ZYDIS_MNEMONIC_POPCNT:
      case ZYDIS_MNEMONIC_CRC32:
      case ZYDIS_MNEMONIC_MOVNTI:
      case ZYDIS_MNEMONIC_LFENCE:
      case ZYDIS_MNEMONIC_MFENCE:
      case ZYDIS_MNEMONIC_SFENCE: unit = Unit::integer; break;
      default: break;
    }
  }
  if (z.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && unit == Unit::sse) unit = Unit::avx;
  if (z.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX) unit = Unit::avx512;
  return true;
}

bool no_effect(ZydisMnemonic m) {
  switch (m) {
    case ZYDIS_MNEMONIC_NOP:
    case ZYDIS_MNEMONIC_ENDBR32:
    case ZYDIS_MNEMONIC_ENDBR64:
    case ZYDIS_MNEMONIC_PREFETCH:
    case ZYDIS_MNEMONIC_PREFETCHNTA:
    case ZYDIS_MNEMONIC_PREFETCHT0:
    case ZYDIS_MNEMONIC_PREFETCHT1:
    case ZYDIS_MNEMONIC_PREFETCHT2:
    case ZYDIS_MNEMONIC_PREFETCHW:
    case ZYDIS_MNEMONIC_PREFETCHWT1:
    case ZYDIS_MNEMONIC_CLDEMOTE: return true;
    default: return false;
  }
}

/// Computational mnemonics of ISA_EXT_BASE/LONGMODE that are the same in 64-bit mode. A list of what is safe, not of what is
/// unsafe: the host executes these as they are.
bool native_base(const ZydisDecodedInstruction& z) {
  switch (z.meta.category) {
    case ZYDIS_CATEGORY_BINARY:
    case ZYDIS_CATEGORY_LOGICAL:
    case ZYDIS_CATEGORY_BITBYTE:
    case ZYDIS_CATEGORY_ROTATE:
    case ZYDIS_CATEGORY_SHIFT:
    case ZYDIS_CATEGORY_CMOV:
    case ZYDIS_CATEGORY_SETCC:
    case ZYDIS_CATEGORY_SEMAPHORE:
    case ZYDIS_CATEGORY_CONVERT:
    case ZYDIS_CATEGORY_DATAXFER:
    case ZYDIS_CATEGORY_FLAGOP:
    case ZYDIS_CATEGORY_MISC:
    case ZYDIS_CATEGORY_LZCNT: break;
    default: return false;
  }
  switch (z.mnemonic) {
    case ZYDIS_MNEMONIC_ADC: case ZYDIS_MNEMONIC_ADD: case ZYDIS_MNEMONIC_AND: case ZYDIS_MNEMONIC_BSF: case ZYDIS_MNEMONIC_BSR:
    case ZYDIS_MNEMONIC_BSWAP: case ZYDIS_MNEMONIC_BT: case ZYDIS_MNEMONIC_BTC: case ZYDIS_MNEMONIC_BTR: case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_CBW: case ZYDIS_MNEMONIC_CDQ: case ZYDIS_MNEMONIC_CDQE: case ZYDIS_MNEMONIC_CLC: case ZYDIS_MNEMONIC_CMC:
    case ZYDIS_MNEMONIC_CMP: case ZYDIS_MNEMONIC_CMPXCHG: case ZYDIS_MNEMONIC_CMPXCHG16B: case ZYDIS_MNEMONIC_CMPXCHG8B:
    case ZYDIS_MNEMONIC_CQO: case ZYDIS_MNEMONIC_CWD: case ZYDIS_MNEMONIC_CWDE: case ZYDIS_MNEMONIC_DEC: case ZYDIS_MNEMONIC_DIV:
    case ZYDIS_MNEMONIC_IDIV: case ZYDIS_MNEMONIC_IMUL: case ZYDIS_MNEMONIC_INC: case ZYDIS_MNEMONIC_LAHF: case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_MOVSX: case ZYDIS_MNEMONIC_MOVSXD: case ZYDIS_MNEMONIC_MOVZX: case ZYDIS_MNEMONIC_MUL: case ZYDIS_MNEMONIC_NEG:
    case ZYDIS_MNEMONIC_NOT: case ZYDIS_MNEMONIC_OR: case ZYDIS_MNEMONIC_RCL: case ZYDIS_MNEMONIC_RCR: case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR: case ZYDIS_MNEMONIC_SAHF: case ZYDIS_MNEMONIC_SAR: case ZYDIS_MNEMONIC_SBB: case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHLD: case ZYDIS_MNEMONIC_SHR: case ZYDIS_MNEMONIC_SHRD: case ZYDIS_MNEMONIC_STC: case ZYDIS_MNEMONIC_SUB:
    case ZYDIS_MNEMONIC_TEST: case ZYDIS_MNEMONIC_XADD: case ZYDIS_MNEMONIC_XCHG: case ZYDIS_MNEMONIC_XOR:
    case ZYDIS_MNEMONIC_PAUSE: case ZYDIS_MNEMONIC_LZCNT: case ZYDIS_MNEMONIC_TZCNT:
      return true;
    default:
      return z.meta.category == ZYDIS_CATEGORY_CMOV || z.meta.category == ZYDIS_CATEGORY_SETCC;
  }
}

/// Native extensions' members that C++ must execute all the same.
bool needs_execute(const ZydisDecodedInstruction& z) {
  switch (z.mnemonic) {
    case ZYDIS_MNEMONIC_FNSTENV: case ZYDIS_MNEMONIC_FLDENV: case ZYDIS_MNEMONIC_FNSAVE: case ZYDIS_MNEMONIC_FRSTOR:
    case ZYDIS_MNEMONIC_FXSAVE: case ZYDIS_MNEMONIC_FXSAVE64: case ZYDIS_MNEMONIC_FXRSTOR: case ZYDIS_MNEMONIC_FXRSTOR64:
    case ZYDIS_MNEMONIC_MASKMOVQ: case ZYDIS_MNEMONIC_MASKMOVDQU: case ZYDIS_MNEMONIC_VMASKMOVDQU: case ZYDIS_MNEMONIC_VMASKMOVPS:
    case ZYDIS_MNEMONIC_VMASKMOVPD: case ZYDIS_MNEMONIC_VPMASKMOVD: case ZYDIS_MNEMONIC_VPMASKMOVQ:
      return true;
    default:
      return z.meta.category == ZYDIS_CATEGORY_GATHER || z.meta.category == ZYDIS_CATEGORY_SCATTER ||
             z.meta.category == ZYDIS_CATEGORY_AVX2GATHER;
  }
}

bool is_string(ZydisMnemonic m) {
  switch (m) {
    case ZYDIS_MNEMONIC_MOVSB: case ZYDIS_MNEMONIC_MOVSW: case ZYDIS_MNEMONIC_MOVSQ: case ZYDIS_MNEMONIC_STOSB: case ZYDIS_MNEMONIC_STOSW:
    case ZYDIS_MNEMONIC_STOSD: case ZYDIS_MNEMONIC_STOSQ: case ZYDIS_MNEMONIC_LODSB: case ZYDIS_MNEMONIC_LODSW: case ZYDIS_MNEMONIC_LODSD:
    case ZYDIS_MNEMONIC_LODSQ: case ZYDIS_MNEMONIC_CMPSB: case ZYDIS_MNEMONIC_CMPSW: case ZYDIS_MNEMONIC_CMPSQ: case ZYDIS_MNEMONIC_SCASB:
    case ZYDIS_MNEMONIC_SCASW: case ZYDIS_MNEMONIC_SCASD: case ZYDIS_MNEMONIC_SCASQ:
      return true;
    default: return false;
  }
}

void classify_flow(const ZydisDecodedInstruction& z, const ZydisDecodedOperand* op, Decoded& d) {
  const bool near_branch = z.meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR || z.meta.branch_type == ZYDIS_BRANCH_TYPE_SHORT;
  switch (z.meta.category) {
    case ZYDIS_CATEGORY_COND_BR:
      d.ends_block = false;
      if (z.mnemonic == ZYDIS_MNEMONIC_JCXZ || z.mnemonic == ZYDIS_MNEMONIC_JECXZ || z.mnemonic == ZYDIS_MNEMONIC_JRCXZ) {
        d.kind = d.insn.addrsize == 2 ? Kind::execute : Kind::jcxz;
      } else if (z.mnemonic == ZYDIS_MNEMONIC_LOOP || z.mnemonic == ZYDIS_MNEMONIC_LOOPE || z.mnemonic == ZYDIS_MNEMONIC_LOOPNE) {
        d.kind = d.insn.addrsize == 2 ? Kind::execute : Kind::loop;
      } else {
        d.kind = Kind::jcc_rel;
      }
      return;
    case ZYDIS_CATEGORY_UNCOND_BR:
      d.kind = !near_branch ? Kind::execute : op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? Kind::jmp_rel : Kind::jmp_rm;
      return;
    case ZYDIS_CATEGORY_CALL:
      d.kind = !near_branch ? Kind::execute : op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? Kind::call_rel : Kind::call_rm;
      return;
    case ZYDIS_CATEGORY_RET:
      d.kind = near_branch && z.mnemonic == ZYDIS_MNEMONIC_RET ? Kind::ret : Kind::execute;
      return;
    default: d.kind = Kind::execute; return;
  }
}

/// Executed in C++, but neither a branch nor able to change what the translation of the following instructions depends on.
/// (POPF can, and the run time looks.)
bool goes_on(const ZydisDecodedInstruction& z) {
  if (is_string(z.mnemonic)) return true;
  switch (z.mnemonic) {
    case ZYDIS_MNEMONIC_PUSHF: case ZYDIS_MNEMONIC_PUSHFD: case ZYDIS_MNEMONIC_PUSHFQ: case ZYDIS_MNEMONIC_POPF: case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_POPFQ: case ZYDIS_MNEMONIC_CLI: case ZYDIS_MNEMONIC_STI: case ZYDIS_MNEMONIC_CLD: case ZYDIS_MNEMONIC_STD:
    case ZYDIS_MNEMONIC_RDTSC: case ZYDIS_MNEMONIC_RDTSCP: case ZYDIS_MNEMONIC_RDPID: case ZYDIS_MNEMONIC_SWAPGS: case ZYDIS_MNEMONIC_RDFSBASE:
    case ZYDIS_MNEMONIC_RDGSBASE: case ZYDIS_MNEMONIC_WRFSBASE: case ZYDIS_MNEMONIC_WRGSBASE: case ZYDIS_MNEMONIC_VERW:
    case ZYDIS_MNEMONIC_VERR: case ZYDIS_MNEMONIC_LAR: case ZYDIS_MNEMONIC_LSL: case ZYDIS_MNEMONIC_XGETBV: case ZYDIS_MNEMONIC_SMSW:
    case ZYDIS_MNEMONIC_SLDT: case ZYDIS_MNEMONIC_STR: case ZYDIS_MNEMONIC_RDMSR: case ZYDIS_MNEMONIC_XLAT: case ZYDIS_MNEMONIC_ENTER:
    case ZYDIS_MNEMONIC_PUSHA: case ZYDIS_MNEMONIC_PUSHAD: case ZYDIS_MNEMONIC_POPA: case ZYDIS_MNEMONIC_POPAD: case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_LEAVE: case ZYDIS_MNEMONIC_AAA: case ZYDIS_MNEMONIC_AAS: case ZYDIS_MNEMONIC_AAM: case ZYDIS_MNEMONIC_AAD:
    case ZYDIS_MNEMONIC_DAA: case ZYDIS_MNEMONIC_DAS: case ZYDIS_MNEMONIC_CPUID: case ZYDIS_MNEMONIC_WRMSR:
    case ZYDIS_MNEMONIC_XSAVE64: case ZYDIS_MNEMONIC_XSAVEC64: case ZYDIS_MNEMONIC_XSAVES64: case ZYDIS_MNEMONIC_XRSTOR64:
    case ZYDIS_MNEMONIC_XRSTORS64:
      return true;
    case ZYDIS_MNEMONIC_MOVSD: case ZYDIS_MNEMONIC_CMPSD: return z.meta.category == ZYDIS_CATEGORY_STRINGOP;
    case ZYDIS_MNEMONIC_POP: return z.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (z.opcode >> 3 == 0x58 >> 3 || z.opcode == 0x8f);
    case ZYDIS_MNEMONIC_MOV:  // from a segment or control register
      return z.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT ? z.opcode == 0x8c : z.opcode_map == ZYDIS_OPCODE_MAP_0F && z.opcode == 0x20;
    default: return false;
  }
}

void classify(const ZydisDecodedInstruction& z, const ZydisDecodedOperand* op, Decoded& d) {
  bool system_register = false, explicit_memory = d.insn.has_mem;
  for (unsigned i = 0; i < z.operand_count_visible; ++i) {
    if (op[i].type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    const auto c = ZydisRegisterGetClass(op[i].reg.value);
    if (c == ZYDIS_REGCLASS_SEGMENT || c == ZYDIS_REGCLASS_CONTROL || c == ZYDIS_REGCLASS_DEBUG || c == ZYDIS_REGCLASS_TEST)
      system_register = true;
  }
  switch (z.meta.category) {
    case ZYDIS_CATEGORY_COND_BR:
    case ZYDIS_CATEGORY_UNCOND_BR:
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_RET:
      d.ends_block = true;
      classify_flow(z, op, d);
      if (d.kind == Kind::execute) d.ends_block = true;
      return;
    default: break;
  }
  if (no_effect(z.mnemonic)) {
    d.kind = Kind::nothing;
    return;
  }
  const bool odd_stack = d.insn.opsize == 2 || d.insn.stack_size == 2;
  switch (z.mnemonic) {
    case ZYDIS_MNEMONIC_LEA: d.kind = explicit_memory ? Kind::lea : Kind::undefined; return;
    case ZYDIS_MNEMONIC_PUSH:
      if (system_register || odd_stack) d.kind = Kind::execute, d.ends_block = true;
      else if (explicit_memory) d.kind = Kind::push_mem;
      else d.kind = op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? Kind::push_imm : Kind::push_reg;
      return;
    case ZYDIS_MNEMONIC_POP:
      if (system_register || odd_stack) d.kind = Kind::execute, d.ends_block = true;
      else d.kind = explicit_memory ? Kind::pop_mem : Kind::pop_reg;
      return;
    case ZYDIS_MNEMONIC_LEAVE:
      d.kind = odd_stack ? Kind::execute : Kind::leave;
      d.ends_block = odd_stack;
      return;
    default: break;
  }
  Unit unit = Unit::integer;
  bool native = native_extension(z, unit);
  if (native && (z.meta.isa_ext == ZYDIS_ISA_EXT_BASE || z.meta.isa_ext == ZYDIS_ISA_EXT_LONGMODE)) native = native_base(z);
  if (z.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) native = false;
  if (needs_execute(z) || is_string(z.mnemonic) || system_register) native = false;
  if (z.mnemonic == ZYDIS_MNEMONIC_MOVSD && z.meta.category == ZYDIS_CATEGORY_STRINGOP) native = false;
  if (z.mnemonic == ZYDIS_MNEMONIC_CMPSD && z.meta.category == ZYDIS_CATEGORY_STRINGOP) native = false;
  d.unit = unit;
  if (!native) {
    if (z.meta.isa_ext != ZYDIS_ISA_EXT_X87 && z.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY && unit == Unit::integer) d.unit = Unit::integer;
    d.kind = Kind::execute;
    d.ends_block = true;
    return;
  }
  d.kind = Kind::native;
  const bool bit_op = z.mnemonic == ZYDIS_MNEMONIC_BT || z.mnemonic == ZYDIS_MNEMONIC_BTS || z.mnemonic == ZYDIS_MNEMONIC_BTR ||
                      z.mnemonic == ZYDIS_MNEMONIC_BTC;
  if (bit_op && explicit_memory && op[1].type == ZYDIS_OPERAND_TYPE_REGISTER) d.kind = Kind::bit_string;
}

/// Whether this processor lacks a legacy-encoded vector extension: its instructions raise #UD, whatever their operand.
bool absent_here(ZydisISAExt extension) {
  switch (extension) {
    case ZYDIS_ISA_EXT_GFNI: {
      static const bool absent = !__builtin_cpu_supports("gfni");
      return absent;
    }
    case ZYDIS_ISA_EXT_AES: {
      static const bool absent = !__builtin_cpu_supports("aes");
      return absent;
    }
    case ZYDIS_ISA_EXT_PCLMULQDQ: {
      static const bool absent = !__builtin_cpu_supports("pclmul");
      return absent;
    }
    default: return false;
  }
}

/// Whether a misaligned memory operand raises #GP(0). Intel SDM vol. 1, 4.1.1; vol. 2A table 2-18 ff.
bool must_be_aligned(const ZydisDecodedInstruction& z, const Decoded& d) {
  if (absent_here(z.meta.isa_ext)) return false;
  switch (z.mnemonic) {
    case ZYDIS_MNEMONIC_MOVUPS: case ZYDIS_MNEMONIC_MOVUPD: case ZYDIS_MNEMONIC_MOVDQU: case ZYDIS_MNEMONIC_LDDQU:
    case ZYDIS_MNEMONIC_PCMPESTRI: case ZYDIS_MNEMONIC_PCMPESTRM: case ZYDIS_MNEMONIC_PCMPISTRI: case ZYDIS_MNEMONIC_PCMPISTRM:
      return false;
    case ZYDIS_MNEMONIC_VMOVAPS: case ZYDIS_MNEMONIC_VMOVAPD: case ZYDIS_MNEMONIC_VMOVDQA: case ZYDIS_MNEMONIC_VMOVDQA32:
    case ZYDIS_MNEMONIC_VMOVDQA64: case ZYDIS_MNEMONIC_VMOVNTDQ: case ZYDIS_MNEMONIC_VMOVNTDQA: case ZYDIS_MNEMONIC_VMOVNTPD:
    case ZYDIS_MNEMONIC_VMOVNTPS: case ZYDIS_MNEMONIC_CMPXCHG16B:
      return d.insn.mem_size >= 16;
    // CPUs differ about these: left to the host's, which sees the operand's alignment.
    case ZYDIS_MNEMONIC_SHA1MSG1: case ZYDIS_MNEMONIC_SHA1MSG2: case ZYDIS_MNEMONIC_SHA1NEXTE: case ZYDIS_MNEMONIC_SHA1RNDS4:
    case ZYDIS_MNEMONIC_SHA256MSG1: case ZYDIS_MNEMONIC_SHA256MSG2: case ZYDIS_MNEMONIC_SHA256RNDS2: return false;
    default: return d.encoding == Encoding::legacy && d.unit == Unit::sse && d.insn.mem_size == 16;
  }
}

/// Flags that the instruction surely overwrites. Undefined ones are not counted: the host leaves there what the guest's CPU
/// would, and that may depend on the old value. Shifts by a count that may be zero change nothing then.
void flag_use(const ZydisDecodedInstruction& z, const ZydisDecodedOperand* op, Decoded& d) {
  if (!z.cpu_flags) return;
  d.flags_read = z.cpu_flags->tested & arithmetic_flags;
  u32 kill = (z.cpu_flags->modified | z.cpu_flags->set_0 | z.cpu_flags->set_1) & ~z.cpu_flags->undefined & arithmetic_flags;
  if (z.meta.category == ZYDIS_CATEGORY_SHIFT || z.meta.category == ZYDIS_CATEGORY_ROTATE || z.mnemonic == ZYDIS_MNEMONIC_SHLD ||
      z.mnemonic == ZYDIS_MNEMONIC_SHRD) {
    if (z.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY) {
      kill = 0;
      const u64 mask = z.operand_width == 64 ? 63 : 31;
      const auto& count = op[z.operand_count_visible - 1];
      if (z.meta.category == ZYDIS_CATEGORY_SHIFT && count.type == ZYDIS_OPERAND_TYPE_IMMEDIATE && (count.imm.value.u & mask) != 0 &&
          z.mnemonic != ZYDIS_MNEMONIC_SHLD && z.mnemonic != ZYDIS_MNEMONIC_SHRD)
        kill = 0xc5;  // SF ZF PF CF; OF is undefined for counts above 1, AF always
    }
  }
  if (d.kind == Kind::native && (z.mnemonic == ZYDIS_MNEMONIC_CMPXCHG8B || z.mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B)) kill &= 0x40;
  d.flags_kill = kill;
}

bool immediates_vary(const ZydisDecodedInstruction& z, const ZydisDecodedOperand* op, const Decoded& d) {
  if (d.encoding == Encoding::evex || (d.encoding == Encoding::vex && d.imm_size)) return false;  // disp8 is scaled; IS4 names a register
  if (z.raw.imm[1].size || d.kind == Kind::undefined) return false;
  if (d.disp_size && !d.insn.has_modrm) return false;
  if (d.imm_size && (z.meta.category == ZYDIS_CATEGORY_SHIFT || z.meta.category == ZYDIS_CATEGORY_ROTATE || z.mnemonic == ZYDIS_MNEMONIC_SHLD ||
                     z.mnemonic == ZYDIS_MNEMONIC_SHRD))
    return false;  // a count of zero leaves the flags alone
  for (unsigned i = 0; i < z.operand_count_visible; ++i)
    if (op[i].type == ZYDIS_OPERAND_TYPE_POINTER) return false;
  return true;
}

}  // namespace

DecodeStatus decode(CodeSize size, bool stack32, std::span<const u8> bytes, Decoded& d) {
  ZydisDecodedInstruction z;
  ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
  const ZyanStatus status = ZydisDecoderDecodeFull(&decoder_for(size, stack32), bytes.data(), bytes.size(), &z, op);
  if (!ZYAN_SUCCESS(status)) {
    if (status == ZYDIS_STATUS_NO_MORE_DATA && bytes.size() < 15) return DecodeStatus::need_more;
    d.kind = Kind::undefined;
    d.insn.length = status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG || status == ZYDIS_STATUS_NO_MORE_DATA ? 16 : 1;
    d.ends_block = true;
    return DecodeStatus::invalid;
  }
  std::memcpy(d.bytes, bytes.data(), z.length);
  Insn& n = d.insn;
  n.mnemonic = static_cast<u16>(z.mnemonic);
  n.length = z.length;
  n.opsize = static_cast<u8>(z.operand_width / 8);
  n.addrsize = static_cast<u8>(z.address_width / 8);
  n.stack_size = static_cast<u8>(z.stack_width / 8);
  n.opcode = z.opcode;
  n.opcode_map = static_cast<u8>(z.opcode_map == ZYDIS_OPCODE_MAP_0F ? 1 : z.opcode_map == ZYDIS_OPCODE_MAP_0F38 ? 2 : z.opcode_map == ZYDIS_OPCODE_MAP_0F3A ? 3 : 0);
  n.lock = d.lock = (z.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0;
  n.rep = (z.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE)) != 0;
  n.repne = (z.attributes & ZYDIS_ATTRIB_HAS_REPNE) != 0;
  // F2 repeats MOVS, STOS, LODS, INS and OUTS like F3, which Zydis does not report.
  if (z.meta.category == ZYDIS_CATEGORY_STRINGOP || z.meta.category == ZYDIS_CATEGORY_IOSTRINGOP) {
    for (unsigned i = 0; i < z.raw.prefix_count; ++i) n.repne = n.repne || (!n.rep && z.raw.prefixes[i].value == 0xf2);
  }
  n.has_modrm = (z.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
  for (unsigned i = 0; i < z.raw.prefix_count; ++i) {
    const auto& p = z.raw.prefixes[i];
    if (p.type != ZYDIS_PREFIX_TYPE_MANDATORY) continue;
    if (p.value == 0x66) d.prefix66 = true;
    if (p.value == 0xf2 || p.value == 0xf3) d.mandatory = p.value;
  }
  d.rex = n.rex = (z.attributes & ZYDIS_ATTRIB_HAS_REX) != 0;
  d.address32 = z.address_width == 32;
  u8 rex_r = 0, rex_b = 0;
  switch (z.encoding) {
    case ZYDIS_INSTRUCTION_ENCODING_VEX:
      d.encoding = Encoding::vex;
      d.payload = z.raw.vex.offset;
      d.rex_w = z.raw.vex.W;
      n.vex = true;
      break;
    case ZYDIS_INSTRUCTION_ENCODING_EVEX:
      d.encoding = Encoding::evex;
      d.payload = z.raw.evex.offset;
      d.rex_w = z.raw.evex.W;
      n.evex = true;
      break;
    case ZYDIS_INSTRUCTION_ENCODING_LEGACY:
      d.rex_w = d.rex && z.raw.rex.W;
      rex_r = d.rex ? z.raw.rex.R : 0;
      rex_b = d.rex ? z.raw.rex.B : 0;
      break;
    default:  // 3DNow!, XOP, MVEX: not carried
      d.kind = Kind::undefined;
      d.ends_block = true;
      return DecodeStatus::ok;
  }
  n.rex_w = d.rex_w;
  if (n.has_modrm) {
    n.modrm = static_cast<u8>(z.raw.modrm.mod << 6 | z.raw.modrm.reg << 3 | z.raw.modrm.rm);
    d.modrm_is_register_form = z.raw.modrm.mod == 3;
    n.reg = static_cast<u8>(z.raw.modrm.reg | rex_r << 3);
    if (z.raw.modrm.mod == 3) n.rm = static_cast<u8>(z.raw.modrm.rm | rex_b << 3);
  } else {
    n.rm = static_cast<u8>((z.opcode & 7) | rex_b << 3);
  }
  if (z.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY) {
    n.vlen = static_cast<u8>(z.avx.vector_length / 8);
    n.zeroing = z.avx.mask.mode == ZYDIS_MASK_MODE_ZEROING || z.avx.mask.mode == ZYDIS_MASK_MODE_CONTROL_ZEROING;
    if (z.avx.mask.mode != ZYDIS_MASK_MODE_INVALID && z.avx.mask.mode != ZYDIS_MASK_MODE_DISABLED)
      n.kmask = static_cast<u8>(z.avx.mask.reg - ZYDIS_REGISTER_K0);
  }
  // operands
  for (unsigned i = 0; i < z.operand_count; ++i) {
    const auto& o = op[i];
    const bool read = (o.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0, write = (o.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    const bool hidden = o.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN;
    if (o.type == ZYDIS_OPERAND_TYPE_REGISTER) {
      const RegInfo r = reg_info(o.reg.value);
      if (!r.gpr) {
        // Vector and mask registers in the forms C++ executes.
        if (o.encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG && n.evex + n.vex) n.reg = static_cast<u8>(ZydisRegisterGetId(o.reg.value));
        if (o.encoding == ZYDIS_OPERAND_ENCODING_NDSNDD) n.vvvv = static_cast<u8>(ZydisRegisterGetId(o.reg.value));
        if (o.encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM && n.evex + n.vex) n.rm = static_cast<u8>(ZydisRegisterGetId(o.reg.value));
        continue;
      }
      RegPlace place;
      switch (o.encoding) {
        case ZYDIS_OPERAND_ENCODING_MODRM_REG: place = RegPlace::modrm_reg; break;
        case ZYDIS_OPERAND_ENCODING_MODRM_RM: place = RegPlace::modrm_rm; break;
        case ZYDIS_OPERAND_ENCODING_OPCODE: place = RegPlace::opcode; break;
        case ZYDIS_OPERAND_ENCODING_NDSNDD: place = RegPlace::vvvv; break;
        default:
          if (write) d.implicit_writes |= static_cast<u16>(1u << r.number);
          if (r.number == 1 && !r.high8) d.rcx_in = d.rcx_in || read || (write && r.size < 4), d.rcx_out = d.rcx_out || write;
          continue;
      }
      if (d.gpr_count < 4) {
        const bool conditional = (o.actions & ZYDIS_OPERAND_ACTION_CONDWRITE) != 0;
        d.gpr[d.gpr_count++] = {place, r.number, r.size, r.high8, read || conditional || (write && r.size < 4), write};
      }
    } else if (o.type == ZYDIS_OPERAND_TYPE_MEMORY && !hidden) {
      n.has_mem = true;
      n.seg = segment_number(o.mem.segment);
      n.base = address_reg(o.mem.base);
      n.index = address_reg(o.mem.index);
      n.scale = o.mem.scale ? o.mem.scale : 1;
      n.disp = o.mem.disp.has_displacement ? o.mem.disp.value : 0;
      n.mem_size = static_cast<u16>(o.size / 8);
      d.mem_read = read;
      d.mem_write = write;
    } else if (o.type == ZYDIS_OPERAND_TYPE_MEMORY && o.mem.base != ZYDIS_REGISTER_NONE) {
      // Strings, XLAT, MASKMOV: C++ knows the address, but an override of its segment must reach it. ES:[rDI] of a string
      // cannot be overridden, the stack neither.
      const bool string = z.meta.category == ZYDIS_CATEGORY_STRINGOP || z.meta.category == ZYDIS_CATEGORY_IOSTRINGOP;
      const u8 base = address_reg(o.mem.base);
      if (base != 4 && !(string && base == 7)) n.seg = segment_number(o.mem.segment);
    } else if (o.type == ZYDIS_OPERAND_TYPE_IMMEDIATE && !hidden) {
      n.imm = o.imm.value.u;
    } else if (o.type == ZYDIS_OPERAND_TYPE_POINTER) {
      n.imm = o.ptr.offset;
      n.imm2 = o.ptr.segment;
    }
  }
  if (z.mnemonic == ZYDIS_MNEMONIC_ENTER) n.imm = z.raw.imm[0].value.u, n.imm2 = z.raw.imm[1].value.u;
  // trailing immediate bytes: everything after ModRM/SIB/displacement
  for (int i = 1; i >= 0; --i) {
    if (z.raw.imm[i].size) d.imm_offset = z.raw.imm[i].offset, d.imm_size = static_cast<u8>(z.length - d.imm_offset);
  }
  // IS4 register operands sit in an immediate byte that Zydis reports as no immediate.
  if (n.vex && d.imm_size == 0) {
    for (unsigned i = 0; i < z.operand_count_visible; ++i) {
      if (op[i].encoding == ZYDIS_OPERAND_ENCODING_IS4) d.imm_offset = static_cast<u8>(z.length - 1), d.imm_size = 1;
    }
  }
  if (z.raw.disp.size) d.disp_offset = z.raw.disp.offset, d.disp_size = static_cast<u8>(z.raw.disp.size / 8);
  d.imm_signed = z.raw.imm[0].is_signed;
  classify(z, op, d);
  d.masked = n.evex && n.kmask != 0 && n.has_mem;
  // Outside 64-bit mode and for integer operations the operand size decides about 66h, whatever the guest's default was.
  if (d.encoding == Encoding::legacy && d.unit == Unit::integer && z.operand_width == 16 && d.kind != Kind::execute) d.prefix66 = true;
  if (d.kind == Kind::execute && goes_on(z)) d.kind = Kind::execute_inline, d.ends_block = false;
  flag_use(z, op, d);
  d.aligned = n.has_mem && must_be_aligned(z, d);
  if (z.mnemonic == ZYDIS_MNEMONIC_BSF || z.mnemonic == ZYDIS_MNEMONIC_BSR) {  // a zero source leaves the destination alone
    for (unsigned i = 0; i < d.gpr_count; ++i) d.gpr[i].read = true;
  }
  d.varies = immediates_vary(z, op, d);
  // F3 90 with REX.B is still XCHG with R8.
  if (z.mnemonic == ZYDIS_MNEMONIC_PAUSE && rex_b) d.gpr[d.gpr_count++] = {RegPlace::opcode, 8, 4, false, true, true};
  return DecodeStatus::ok;
}

}  // namespace nagaya::engine::soft
