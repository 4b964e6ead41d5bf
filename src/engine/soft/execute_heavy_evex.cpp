// EVEX instructions under a mask whose memory operand cannot be accessed whole. Only elements that the mask selects may fault,
// so these are read one by one into a copy, and the instruction itself runs on that copy: in a page of its own, with the
// guest's vector state loaded. Rare (an operand across the end of a mapping), so that its cost does not matter.
// Source: Intel SDM vol. 1, 15.6.4 (memory fault suppression); vol. 2, 2.8 (exception classes; "NF": no suppression).
#include <sys/mman.h>

#include <Zydis/Zydis.h>

#include <string_view>
#include <vector>

#include "engine/soft/decode.hpp"
#include "engine/soft/execute_heavy.hpp"
#include "engine/soft/light/execute.hpp"
#include "engine/soft/vector_operand.hpp"

namespace nagaya::engine::soft::exec {
namespace {

struct Feature {
  std::string_view isa_set;  ///< Zydis' name up to the vector length
  u8 word, bit;              ///< of leaf 7, subleaf 0: 1 EBX, 2 ECX, 3 EDX; word 0: EAX of subleaf 1
};
/// What may run here; everything else is #UD, as the host might lack it.
constexpr Feature features[] = {
    {"AVX512F", 1, 16},        {"AVX512DQ", 1, 17},       {"AVX512_IFMA", 1, 21},   {"AVX512CD", 1, 28},
    {"AVX512BW", 1, 30},       {"AVX512_VBMI", 2, 1},     {"AVX512_VBMI2", 2, 6},   {"AVX512_GFNI", 2, 8},
    {"AVX512_VAES", 2, 9},     {"AVX512_VPCLMULQDQ", 2, 10}, {"AVX512_VNNI", 2, 11}, {"AVX512_BITALG", 2, 12},
    {"AVX512_VPOPCNTDQ", 2, 14}, {"AVX512_BF16", 0, 5},
};

bool offered(const SoftCpu& cpu, const ZydisDecodedInstruction& z) {
  const char* text = ZydisISASetGetString(z.meta.isa_set);
  if (!text) return false;
  std::string_view name = text;
  name = name.substr(0, name.rfind('_'));
  for (const auto& feature : features) {
    if (feature.isa_set == name) return cpuid_feature(cpu, 7, feature.word == 0 ? 1 : 0, feature.word, feature.bit);
  }
  return false;
}

bool suppresses_faults(const ZydisDecodedInstruction& z) {
  switch (z.meta.exception_class) {
    case ZYDIS_EXCEPTION_CLASS_E1: case ZYDIS_EXCEPTION_CLASS_E2: case ZYDIS_EXCEPTION_CLASS_E3: case ZYDIS_EXCEPTION_CLASS_E4:
    case ZYDIS_EXCEPTION_CLASS_E5: case ZYDIS_EXCEPTION_CLASS_E6: case ZYDIS_EXCEPTION_CLASS_E10: case ZYDIS_EXCEPTION_CLASS_E11:
      return true;
    default: return false;
  }
}

struct MemoryOperand {
  unsigned element = 0, count = 0;
  bool write = false;
  u64 selected = 0;  ///< which elements are accessed
};

/// Elements of the memory operand and which of them the mask selects.
MemoryOperand memory_operand(const ZydisDecodedInstruction& z, const ZydisDecodedOperand* op, const Insn& insn, const XState& state) {
  MemoryOperand out;
  unsigned results = 0;
  bool mask_result = false;
  for (unsigned i = 0; i < z.operand_count_visible; ++i) {
    if (op[i].type == ZYDIS_OPERAND_TYPE_MEMORY) {
      out.element = op[i].element_size / 8u;
      out.count = op[i].element_count;
      out.write = (op[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    } else if (i == 0) {
      mask_result = ZydisRegisterGetClass(op[i].reg.value) == ZYDIS_REGCLASS_MASK;
      results = op[i].element_count;
    }
  }
  if (out.element == 0 || out.count == 0 || out.count > 64) return out;
  const bool broadcast = z.avx.broadcast.mode != ZYDIS_BROADCAST_MODE_INVALID;
  if (mask_result) results = broadcast ? insn.vlen / out.element : out.count;
  const bool scalar = out.count == 1 && !broadcast;
  if (results == 0 || scalar) results = out.count;
  const u64 all = out.count == 64 ? ~u64{0} : (u64{1} << out.count) - 1;
  if (!suppresses_faults(z)) {
    out.selected = all;
    return out;
  }
  const u64 mask = evex_mask(state, insn, results);
  for (unsigned i = 0; i < results; ++i) {
    if (!(mask >> i & 1)) continue;
    if (results >= out.count) {
      out.selected |= u64{1} << i % out.count;
    } else {
      const unsigned ratio = out.count / results;
      for (unsigned j = 0; j < ratio; ++j) out.selected |= u64{1} << (i * ratio + j);
    }
  }
  return out;
}

/// The instruction with [rax] for its memory operand, between MOV RAX, RDI and RET.
std::vector<u8> code_of(const Decoded& d) {
  std::vector<u8> code{0x48, 0x89, 0xf8};
  const u8* evex = d.bytes + d.payload;
  code.push_back(0x62);
  code.push_back(static_cast<u8>(evex[1] | 0x60));  // X and B (inverted): no extension of the base
  code.push_back(static_cast<u8>(evex[2]));
  code.push_back(static_cast<u8>(evex[3]));
  code.push_back(d.insn.opcode);
  code.push_back(static_cast<u8>(d.insn.modrm & 0x38));
  for (unsigned i = 0; i < d.imm_size; ++i) code.push_back(d.bytes[d.imm_offset + i]);
  code.push_back(0xc3);
  return code;
}

using Image = std::array<u8, sizeof(x86::CpuState::xsave)>;

/// Runs code with the vector state of `image` (in and out). False when the host gives no page to run it in.
bool run(const std::vector<u8>& code, Image& image, u64 components, u8* operand) {
  void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return false;
  std::memcpy(page, code.data(), code.size());
  const bool ok = mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0;
  if (ok) {
    alignas(64) static thread_local Image own{};
    asm volatile(
        "lea -128(%%rsp), %%rsp\n\t"
        "mov %[low], %%eax\n\txor %%edx, %%edx\n\t"
        "xsave64 (%[own])\n\txrstor64 (%[image])\n\t"
        "call *%[code]\n\t"
        "mov %[low], %%eax\n\txor %%edx, %%edx\n\t"
        "xsave64 (%[image])\n\txrstor64 (%[own])\n\t"
        "lea 128(%%rsp), %%rsp"
        :
        : [low] "r"(static_cast<u32>(components)), [own] "r"(own.data()), [image] "r"(image.data()), [code] "r"(page), "D"(operand)
        : "rax", "rdx", "memory", "cc");
  }
  munmap(page, 4096);
  return ok;
}

}  // namespace

bool evex_masked(SoftCpu& cpu, const Insn& insn) {
  if (!insn.evex || !insn.has_mem || insn.kmask == 0) return raise(cpu, vec_ud);
  if (!vector_available(cpu, insn)) return false;

  // The bytes again, since the compact form does not have them. They may have changed since: then they are not this
  // instruction any more and must not run.
  std::array<u8, 15> bytes{};
  const u64 at = code64(cpu) ? cpu.s.rip : (cpu.s.seg[CS].base + cpu.s.rip) & 0xffffffff;
  if (!mem_read(cpu, at, bytes.data(), insn.length, current_kind(cpu))) return false;
  Decoded d;
  const CodeSize size = code64(cpu) ? CodeSize::bits64 : cpu.s.seg[CS].db() ? CodeSize::bits32 : CodeSize::bits16;
  const std::span code(bytes.data(), insn.length);
  ZydisDecoder decoder;
  ZydisDecodedInstruction z;
  ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
  const bool is64 = size == CodeSize::bits64;
  ZydisDecoderInit(&decoder, is64 ? ZYDIS_MACHINE_MODE_LONG_64 : size == CodeSize::bits32 ? ZYDIS_MACHINE_MODE_LEGACY_32 : ZYDIS_MACHINE_MODE_LEGACY_16,
                   is64 ? ZYDIS_STACK_WIDTH_64 : ZYDIS_STACK_WIDTH_32);
  if (decode(size, true, code, d) != DecodeStatus::ok || d.insn.length != insn.length || d.insn.mnemonic != insn.mnemonic ||
      d.kind != Kind::native || !d.masked || d.gpr_count != 0 ||
      !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code.data(), code.size(), &z, op)) || !offered(cpu, z)) {
    ++cpu.count.undefined;
    return raise(cpu, vec_ud);
  }

  XState state(cpu);
  const MemoryOperand memory = memory_operand(z, op, d.insn, state);
  alignas(64) std::array<u8, 64> operand{};
  if (memory.element == 0 || memory.element > 8 || std::size_t{memory.element} * memory.count > operand.size()) return raise(cpu, vec_ud);
  const u64 offset = effective_address(cpu, d.insn);
  for (unsigned i = 0; i < memory.count; ++i) {
    if (!(memory.selected >> i & 1)) continue;
    const u64 here = offset + u64{i} * memory.element;
    u8* copy = operand.data() + std::size_t{i} * memory.element;
    if (memory.write ? !probe_element(cpu, insn, here, memory.element) : !load_element(cpu, insn, here, memory.element, copy)) return false;
  }

  // SIMD exceptions stay masked while it runs; whether the guest wants one is seen afterwards.
  constexpr u32 exception_flags = 0x3f, exception_masks = 0x1f80;
  alignas(64) Image image = cpu.s.xsave;
  const u32 mxcsr = state.mxcsr(), quiet = (mxcsr | exception_masks) & ~exception_flags;
  std::memcpy(image.data() + 24, &quiet, sizeof quiet);
  if (!run(code_of(d), image, cpu.host_xcr0, operand.data())) return raise(cpu, vec_ud);
  u32 after;
  std::memcpy(&after, image.data() + 24, sizeof after);
  const u32 raised = after & exception_flags, merged = mxcsr | raised;
  if (raised & ~(mxcsr >> 7)) {
    state.set_mxcsr(merged);
    return raise(cpu, cpu.s.cr4 & cr4_osxmm ? vec_xm : vec_ud);
  }
  for (unsigned i = 0; memory.write && i < memory.count; ++i) {
    if (!(memory.selected >> i & 1)) continue;
    if (!store_element(cpu, insn, offset + u64{i} * memory.element, memory.element, operand.data() + std::size_t{i} * memory.element)) return false;
  }
  std::memcpy(image.data() + 24, &merged, sizeof merged);
  cpu.s.xsave = image;
  return true;
}

}  // namespace nagaya::engine::soft::exec
