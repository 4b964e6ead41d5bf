// System instructions that are a few host instructions: emitted in place of a call into C++. Each declines (false) unless the
// block's mode proves that the instruction neither faults nor changes what a translation depends on; the call is always right.
#include <Zydis/Mnemonic.h>

#include "engine/soft/light/arch.hpp"
#include "engine/soft/translate.hpp"

namespace nagaya::engine::soft {
namespace {

constexpr std::size_t state = offsetof(SoftCpu, s);
const HostMem rflags_field = Emitter::gs(state + offsetof(x86::CpuState, rflags));
HostMem linear_base(u8 seg) { return Emitter::gs(offsetof(SoftCpu, lin_seg_base) + 8 * seg); }
HostMem segment_field(u8 seg, std::size_t field) {
  return Emitter::gs(state + offsetof(x86::CpuState, seg) + seg * sizeof(x86::Segment) + field);
}
HostMem msr_field(std::size_t field) { return Emitter::gs(state + offsetof(x86::CpuState, msr) + field); }

}  // namespace

/// CPL is 0: what needs no more than that cannot fault.
bool Translator::supervisor() const {
  return source_.mode.kind() != tlb_user && !source_.mode.has(mode_bits::inner_ring);
}

bool Translator::keeps_flags(const Decoded& d) const {
  switch (d.insn.mnemonic) {
    case ZYDIS_MNEMONIC_CLI: case ZYDIS_MNEMONIC_STI: return supervisor();
    case ZYDIS_MNEMONIC_SWAPGS: return supervisor() && source_.mode.is64();
    case ZYDIS_MNEMONIC_RDTSC: return source_.mode.has(mode_bits::tsc);
    case ZYDIS_MNEMONIC_CLD: return true;
    default: return false;
  }
}

bool Translator::system_inline(const Decoded& d) {
  const Insn& n = d.insn;
  const Mode mode = source_.mode;
  if (n.lock) return false;
  switch (n.mnemonic) {
    case ZYDIS_MNEMONIC_CLI: return supervisor() && (change_flag(d, flag_if, false), true);
    case ZYDIS_MNEMONIC_STI: return supervisor() && (enable_interrupts(d), true);
    case ZYDIS_MNEMONIC_CLD: return change_flag(d, flag_df, false), true;
    case ZYDIS_MNEMONIC_PUSHF: case ZYDIS_MNEMONIC_PUSHFQ:
      if (!mode.is64() || n.opsize != 8) return false;
      push_flags(d);
      return true;
    case ZYDIS_MNEMONIC_SWAPGS:
      if (!supervisor() || !mode.is64()) return false;
      e_.load(temp1, segment_field(x86::GS, offsetof(x86::Segment, base)));
      e_.load(temp0, msr_field(offsetof(x86::Msrs, kernel_gs_base)));
      e_.store(msr_field(offsetof(x86::Msrs, kernel_gs_base)), temp1);
      e_.store(segment_field(x86::GS, offsetof(x86::Segment, base)), temp0);
      e_.store(linear_base(x86::GS), temp0);
      return true;
    case ZYDIS_MNEMONIC_RDTSC: return mode.has(mode_bits::tsc) && (read_tsc(false), true);
    case ZYDIS_MNEMONIC_RDTSCP: return mode.has(mode_bits::tsc) && mode.has(mode_bits::rdtscp) && (read_tsc(true), true);
    case ZYDIS_MNEMONIC_RDFSBASE: return read_base(d, x86::FS);
    case ZYDIS_MNEMONIC_RDGSBASE: return read_base(d, x86::GS);
    case ZYDIS_MNEMONIC_WRFSBASE: return write_base(d, x86::FS);
    case ZYDIS_MNEMONIC_WRGSBASE: return write_base(d, x86::GS);
    case ZYDIS_MNEMONIC_MOV: return move_from_system(d);
    default: return false;
  }
}

void Translator::change_flag(const Decoded& d, u64 flag, bool on) {
  if (!d.flags_live) {
    e_.op_mem(0, true, {0x81}, on ? 1 : 4, rflags_field);
    e_.imm32(static_cast<u32>(on ? flag : ~flag));
    return;
  }
  e_.load(temp1, rflags_field);
  e_.keep_bits(temp1, Emitter::gs(offsetof(SoftCpu, flag_masks) + (flag == flag_if ? 0 : 8)));
  if (on) e_.lea(temp1, {temp1, -1, 1, static_cast<i32>(flag)});
  e_.store(rflags_field, temp1);
}

/// The shadow needs nothing: the next instruction of this block runs before anyone looks for interrupts. One that waits already is
/// taken where IF lets it: C++ sees to that.
void Translator::enable_interrupts(const Decoded& d) {
  e_.load32(temp0, Emitter::gs(offsetof(SoftCpu, run_ok)));  // 1 and 0 of these two mean that nothing waits
  e_.load32(temp1, Emitter::gs(offsetof(SoftCpu, irq_wanted)));
  e_.not_(temp0);
  e_.lea32(temp1, {temp1, temp0, 1, 2});
  const u32 quiet = e_.jrcxz();
  call_execute(d);
  const u32 over = e_.jmp32();
  e_.bind8(quiet);
  change_flag(d, flag_if, true);
  e_.bind32(over);
}

void Translator::push_flags(const Decoded& d) {
  e_.mov(temp0, h_rax);
  e_.byte(0x9f);                                // lahf: also sets bit 1 of the image
  e_.byte(0x0f), e_.byte(0x90), e_.byte(0xc0);  // seto al
  e_.byte(0x0f), e_.byte(0xb6), e_.byte(0xcc);  // movzx ecx, ah
  e_.byte(0x0f), e_.byte(0xb6), e_.byte(0xc0);  // movzx eax, al
  e_.rorx(h_rax, h_rax, 32 - 11, false);
  e_.lea32(temp1, {temp1, h_rax, 1, 0});
  e_.load(h_rax, rflags_field);
  e_.keep_bits(h_rax, Emitter::gs(offsetof(SoftCpu, flag_masks) + 16));
  e_.lea(temp1, {temp1, h_rax, 1, 0});
  e_.mov(h_rax, temp0);
  const HostMem image = Emitter::gs(offsetof(SoftCpu, scratch));
  e_.store(image, temp1);
  push_value(d, [this, image](HostMem) { e_.load(temp1, image); });
}

/// RDTSCP waits for the instructions before it, as LFENCE does.
void Translator::read_tsc(bool with_aux) {
  if (with_aux) e_.byte(0x0f), e_.byte(0xae), e_.byte(0xe8);
  e_.byte(0x0f), e_.byte(0x31);
  e_.rorx(h_rdx, h_rdx, 32, true);
  e_.load(temp1, Emitter::gs(offsetof(SoftCpu, tsc_offset)));
  e_.lea(h_rax, {h_rax, h_rdx, 1, 0});
  e_.lea(h_rax, {h_rax, temp1, 1, 0});
  e_.rorx(h_rdx, h_rax, 32, true);
  e_.mov32(h_rdx, h_rdx);
  e_.mov32(h_rax, h_rax);
  if (with_aux) e_.load32(h_r10, msr_field(offsetof(x86::Msrs, tsc_aux)));
}

bool Translator::read_base(const Decoded& d, u8 seg) {
  if (!source_.mode.has(mode_bits::fsgsbase) || d.insn.opsize < 4) return false;
  const HostMem base = segment_field(seg, offsetof(x86::Segment, base));
  d.insn.opsize == 8 ? e_.load(temp1, base) : e_.load32(temp1, base);
  store_guest(d.insn.rm, temp1);
  return true;
}

bool Translator::write_base(const Decoded& d, u8 seg) {
  if (!source_.mode.has(mode_bits::fsgsbase) || d.insn.opsize < 4) return false;
  load_guest(temp0, d.insn.rm);
  if (d.insn.opsize == 4) {
    e_.mov32(temp0, temp0);
  } else {  // #GP(0) unless canonical: bits 63:47 alike
    const HostMem value = Emitter::gs(offsetof(SoftCpu, scratch));
    e_.store(value, temp0);
    e_.mov_imm(temp1, 16);
    e_.shlx(temp0, temp0, temp1);
    e_.sarx(temp0, temp0, temp1);
    e_.not_(temp0);
    e_.load(temp1, value);
    e_.lea(temp1, {temp1, temp0, 1, 1});
    const u32 good = e_.jrcxz();
    exit_execute(d);
    e_.bind8(good);
    e_.load(temp0, value);
  }
  e_.store(segment_field(seg, offsetof(x86::Segment, base)), temp0);
  e_.store(linear_base(seg), temp0);
  return true;
}

/// MOV from a segment register to a general one, and from CR0, CR2, CR3, CR4.
bool Translator::move_from_system(const Decoded& d) {
  const Insn& n = d.insn;
  if (n.has_mem) return false;
  if (n.opcode_map == 0 && n.opcode == 0x8c) {
    const u8 seg = n.modrm >> 3 & 7;
    if (seg > x86::GS || n.opsize < 4) return false;
    e_.op_mem(0, false, {0x0f, 0xb7}, temp1, segment_field(seg, offsetof(x86::Segment, selector)));
    store_guest(n.rm, temp1);
    return true;
  }
  if (n.opcode_map != 1 || n.opcode != 0x20 || !supervisor() || !source_.mode.is64()) return false;
  std::size_t field = 0;
  switch (n.reg) {
    case 0: field = offsetof(x86::CpuState, cr0); break;
    case 2: field = offsetof(x86::CpuState, cr2); break;
    case 3: field = offsetof(x86::CpuState, cr3); break;
    case 4: field = offsetof(x86::CpuState, cr4); break;
    default: return false;
  }
  e_.load(temp1, Emitter::gs(state + field));
  store_guest(n.rm, temp1);
  return true;
}

}  // namespace nagaya::engine::soft
