// FNSTENV, FNSAVE, FLDENV, FRSTOR: the x87 environment in its old formats, 14 bytes with 16-bit operands and 28 else.
// Instruction and data pointers are stored as zero and dropped when loaded. Source: Intel SDM vol. 1, 8.1.10; vol. 2.
#include "engine/soft/execute_heavy.hpp"
#include "engine/soft/light/operand.hpp"
#include "engine/soft/xstate.hpp"

namespace nagaya::engine::soft::exec {
namespace {

constexpr u16 exception_bits = 0x3f, summary_bits = 0x8080;  // ES and B follow the unmasked exceptions

/// One x87 register as FSAVE has it.
using Register = std::array<u8, 10>;

unsigned top_of(u16 fsw) { return fsw >> 11 & 7; }

/// Two-bit tag of a register that is not empty: 0 valid, 1 zero, 2 special (Intel SDM vol. 1, 8.1.7).
unsigned tag_of(const u8* value) {
  u64 mantissa;
  u16 exponent;
  std::memcpy(&mantissa, value, 8);
  std::memcpy(&exponent, value + 8, 2);
  exponent &= 0x7fff;
  if (exponent == 0x7fff) return 2;
  if (exponent == 0) return mantissa == 0 ? 1 : 2;
  return mantissa >> 63 ? 0 : 2;
}

/// FXSAVE's one bit per physical register to two, and back.
u16 full_tags(const XState& state, const u8* image) {
  const auto abridged = state.get<u8>(4);
  const unsigned top = top_of(state.get<u16>(2));
  unsigned tags = 0;
  for (unsigned i = 0; i < 8; ++i) {
    const unsigned tag = abridged >> i & 1 ? tag_of(image + 32 + std::size_t{16} * ((i - top) & 7)) : 3;
    tags |= tag << (2 * i);
  }
  return static_cast<u16>(tags);
}

u8 abridged_tags(u16 full) {
  unsigned bits = 0;
  for (unsigned i = 0; i < 8; ++i) bits |= ((full >> (2 * i) & 3) != 3) << i;
  return static_cast<u8>(bits);
}

u16 with_summary(u16 fsw, u16 fcw) {
  return static_cast<u16>(fsw & ~fcw & exception_bits ? fsw | summary_bits : fsw & ~summary_bits);
}

/// The image keeps ST(0) first: when TOP moves without the registers, they change places.
void rotate_registers(XState& state, unsigned old_top, unsigned new_top) {
  if (old_top == new_top) return;
  std::array<u8, 128> old;
  std::memcpy(old.data(), state.bytes() + 32, old.size());
  for (unsigned i = 0; i < 8; ++i) {
    const unsigned physical = (new_top + i) & 7;
    std::memcpy(state.bytes() + 32 + std::size_t{16} * i, old.data() + std::size_t{16} * ((physical - old_top) & 7), 16);
  }
}

}  // namespace

bool fnstenv(SoftCpu& cpu, const Insn& insn, bool with_registers) {
  if (!insn.has_mem) return raise(cpu, vec_ud);
  if (cpu.s.cr0 & (cr0_em | cr0_ts)) return raise(cpu, vec_nm);
  const unsigned environment = insn.opsize == 2 ? 14 : 28;
  const unsigned size = environment + (with_registers ? 80 : 0);
  u64 linear;
  if (!linear_address(cpu, insn.seg, effective_address(cpu, insn), size, Access::write, linear)) return false;

  XState state(cpu);
  std::array<u8, 108> out{};
  const u16 words[3] = {state.get<u16>(0), state.get<u16>(2), full_tags(state, state.bytes())};
  for (unsigned i = 0; i < 3; ++i) {
    if (environment == 14) {
      std::memcpy(out.data() + std::size_t{2} * i, &words[i], 2);
    } else {
      const u32 wide = words[i] | 0xffff0000u;
      std::memcpy(out.data() + std::size_t{4} * i, &wide, 4);
    }
  }
  if (environment == 28) std::memset(out.data() + 26, 0xff, 2);  // above the data selector
  if (with_registers) {
    for (unsigned i = 0; i < 8; ++i) {
      std::memcpy(out.data() + environment + std::size_t{10} * i, state.bytes() + 32 + std::size_t{16} * i, 10);
    }
  }
  if (!mem_write(cpu, linear, out.data(), size, current_kind(cpu))) return false;
  if (with_registers) {
    state.put<u16>(0, fcw_init);
    state.put<u16>(2, 0);
    state.put<u8>(4, 0);
    rotate_registers(state, top_of(words[1]), 0);
  } else {
    const u16 fcw = words[0] | exception_bits;
    state.put<u16>(0, fcw);
    state.put<u16>(2, with_summary(words[1], fcw));
  }
  state.use(x_x87);
  return true;
}

bool fldenv(SoftCpu& cpu, const Insn& insn, bool with_registers) {
  if (!insn.has_mem) return raise(cpu, vec_ud);
  if (cpu.s.cr0 & (cr0_em | cr0_ts)) return raise(cpu, vec_nm);
  const unsigned environment = insn.opsize == 2 ? 14 : 28;
  const unsigned size = environment + (with_registers ? 80 : 0), step = environment == 14 ? 2 : 4;
  u64 linear;
  if (!linear_address(cpu, insn.seg, effective_address(cpu, insn), size, Access::read, linear)) return false;
  std::array<u8, 108> in{};
  if (!mem_read(cpu, linear, in.data(), size, current_kind(cpu))) return false;
  u16 fcw, fsw, tags;
  std::memcpy(&fcw, in.data(), 2);
  std::memcpy(&fsw, in.data() + step, 2);
  std::memcpy(&tags, in.data() + std::size_t{2} * step, 2);

  XState state(cpu);
  const unsigned old_top = top_of(state.get<u16>(2));
  fcw = static_cast<u16>((fcw & 0x1f3f) | 0x40);  // bit 6 reads as one
  state.put<u16>(0, fcw);
  state.put<u16>(2, with_summary(fsw, fcw));
  state.put<u8>(4, abridged_tags(tags));
  if (with_registers) {
    for (unsigned i = 0; i < 8; ++i) {
      std::memset(state.bytes() + 32 + std::size_t{16} * i, 0, 16);
      std::memcpy(state.bytes() + 32 + std::size_t{16} * i, in.data() + environment + std::size_t{10} * i, 10);
    }
  } else {
    rotate_registers(state, old_top, top_of(fsw));
  }
  state.use(x_x87);
  return true;
}

}  // namespace nagaya::engine::soft::exec
