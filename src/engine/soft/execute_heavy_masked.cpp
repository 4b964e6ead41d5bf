// Moves under a mask to or from memory, where elements that the mask leaves out must not fault: MASKMOV, VMASKMOV,
// EVEX moves, compress, expand, narrowing and extracting stores. Stores probe all their elements before the first write, as
// processors do. Source: Intel SDM vol. 2; vol. 1, 15.6.4.
#include <algorithm>

#include "engine/soft/execute_heavy.hpp"
#include "engine/soft/vector_operand.hpp"

namespace nagaya::engine::soft::exec {
namespace {

using Vector = std::array<u8, 64>;

/// Loads the elements of `mask` at their places; the others of `out` stay.
bool masked_load(SoftCpu& cpu, const Insn& insn, unsigned element, unsigned count, u64 mask, Vector& out) {
  const u64 at = effective_address(cpu, insn);
  for (unsigned i = 0; i < count; ++i) {
    if ((mask >> i & 1) && !load_element(cpu, insn, at + u64{i} * element, element, out.data() + std::size_t{i} * element)) return false;
  }
  return true;
}

bool masked_store(SoftCpu& cpu, const Insn& insn, unsigned element, unsigned count, u64 mask, const Vector& data, u64 at) {
  for (unsigned i = 0; i < count; ++i) {
    if ((mask >> i & 1) && !probe_element(cpu, insn, at + u64{i} * element, element)) return false;
  }
  for (unsigned i = 0; i < count; ++i) {
    if (!(mask >> i & 1)) continue;
    if (!store_element(cpu, insn, at + u64{i} * element, element, data.data() + std::size_t{i} * element)) return false;
  }
  return true;
}

/// Bit i: the top bit of element i.
u64 sign_mask(const Vector& mask, unsigned element, unsigned count) {
  u64 bits = 0;
  for (unsigned i = 0; i < count; ++i) bits |= static_cast<u64>(mask[std::size_t{i} * element + element - 1] >> 7) << i;
  return bits;
}

/// MMi in the image, which holds the registers in stack order.
std::size_t mmx_offset(const XState& state, unsigned reg) {
  const unsigned top = state.get<u16>(2) >> 11 & 7;
  return 32 + std::size_t{16} * ((reg - top) & 7);
}

/// Every MMX instruction sets TOP to 0 and all tags valid.
void enter_mmx(XState& state) {
  const auto fsw = state.get<u16>(2);
  const unsigned top = fsw >> 11 & 7;
  std::rotate(state.bytes() + 32, state.bytes() + 32 + std::size_t{16} * ((8 - top) & 7), state.bytes() + 160);
  state.put<u16>(2, static_cast<u16>(fsw & ~0x3800));
  state.put<u8>(4, 0xff);
  state.use(x_x87);
}

bool pending_x87_error(const XState& state) { return state.get<u16>(2) & ~state.get<u16>(0) & 0x3f; }

}  // namespace

bool maskmov_bytes(SoftCpu& cpu, const Insn& insn, bool mmx) {
  if (!vector_available(cpu, insn, mmx)) return false;
  XState state(cpu);
  const unsigned count = mmx ? 8 : 16;
  Vector data{}, mask{};
  if (mmx) {
    if (pending_x87_error(state)) return raise(cpu, vec_mf);
    std::memcpy(data.data(), state.bytes() + mmx_offset(state, insn.reg & 7), 8);
    std::memcpy(mask.data(), state.bytes() + mmx_offset(state, insn.rm & 7), 8);
  } else {
    state.read_vector(insn.reg, data.data(), 16);
    state.read_vector(insn.rm, mask.data(), 16);
  }
  if (!masked_store(cpu, insn, 1, count, sign_mask(mask, 1, count), data, cpu.s.gpr[RDI])) return false;
  if (mmx) enter_mmx(state);
  return true;
}

bool vmaskmov(SoftCpu& cpu, const Insn& insn, unsigned element, bool store) {
  if (!insn.has_mem || !insn.vex) return raise(cpu, vec_ud);
  if (!vector_available(cpu, insn)) return false;
  XState state(cpu);
  const unsigned count = insn.vlen / element;
  Vector data{}, mask{};
  state.read_vector(insn.vvvv, mask.data(), insn.vlen);
  const u64 bits = sign_mask(mask, element, count);
  if (store) {
    state.read_vector(insn.reg, data.data(), insn.vlen);
    return masked_store(cpu, insn, element, count, bits, data, effective_address(cpu, insn));
  }
  if (!masked_load(cpu, insn, element, count, bits, data)) return false;
  state.write_vector(insn.reg, data.data(), insn.vlen, true);
  return true;
}

bool masked_move(SoftCpu& cpu, const Insn& insn, unsigned element, bool aligned) {
  if (!insn.has_mem || !insn.evex) return raise(cpu, vec_ud);
  if (!vector_available(cpu, insn)) return false;
  const u64 at = effective_address(cpu, insn);
  if (aligned) {
    u64 linear = at;
    if (!code64(cpu) || insn.seg == FS || insn.seg == GS) linear += cpu.s.seg[insn.seg].base;
    if (linear & (insn.vlen - 1u)) return raise(cpu, vec_gp, 0);
  }
  XState state(cpu);
  const unsigned count = insn.vlen / element;
  const u64 mask = evex_mask(state, insn, count);
  Vector data{};
  // Loads: 10 (VMOVUPS), 28 (VMOVAPS), 6F; stores: 11, 29, 7F.
  if (insn.opcode == 0x11 || insn.opcode == 0x29 || insn.opcode == 0x7f) {
    state.read_vector(insn.reg, data.data(), insn.vlen);
    return masked_store(cpu, insn, element, count, mask, data, at);
  }
  if (!insn.zeroing) state.read_vector(insn.reg, data.data(), insn.vlen);
  if (!masked_load(cpu, insn, element, count, mask, data)) return false;
  state.write_vector(insn.reg, data.data(), insn.vlen, true);
  return true;
}

bool masked_scalar_move(SoftCpu& cpu, const Insn& insn, unsigned element) {
  if (!insn.has_mem || !insn.evex) return raise(cpu, vec_ud);
  if (!vector_available(cpu, insn)) return false;
  XState state(cpu);
  const u64 mask = evex_mask(state, insn, 1);
  Vector data{};
  state.read_vector(insn.reg, data.data(), 16);
  if (insn.opcode == 0x11) return masked_store(cpu, insn, element, 1, mask, data, effective_address(cpu, insn));
  std::memset(data.data() + element, 0, data.size() - element);
  if (insn.zeroing) std::memset(data.data(), 0, element);
  if (!masked_load(cpu, insn, element, 1, mask, data)) return false;
  state.write_vector(insn.reg, data.data(), 16, true);
  return true;
}

bool compress(SoftCpu& cpu, const Insn& insn, unsigned element) {
  if (!insn.has_mem || !insn.evex || insn.zeroing) return raise(cpu, vec_ud);
  if (!vector_available(cpu, insn)) return false;
  XState state(cpu);
  const unsigned count = insn.vlen / element;
  const u64 mask = evex_mask(state, insn, count);
  Vector data{}, packed{};
  state.read_vector(insn.reg, data.data(), insn.vlen);
  unsigned n = 0;
  for (unsigned i = 0; i < count; ++i) {
    if (!(mask >> i & 1)) continue;
    std::memcpy(packed.data() + std::size_t{n} * element, data.data() + std::size_t{i} * element, element);
    ++n;
  }
  return masked_store(cpu, insn, element, n, ~u64{0}, packed, effective_address(cpu, insn));
}

bool expand(SoftCpu& cpu, const Insn& insn, unsigned element) {
  if (!insn.has_mem || !insn.evex) return raise(cpu, vec_ud);
  if (!vector_available(cpu, insn)) return false;
  XState state(cpu);
  const unsigned count = insn.vlen / element;
  const u64 mask = evex_mask(state, insn, count);
  const u64 at = effective_address(cpu, insn);
  Vector data{};
  if (!insn.zeroing) state.read_vector(insn.reg, data.data(), insn.vlen);
  unsigned n = 0;
  for (unsigned i = 0; i < count; ++i) {
    if (!(mask >> i & 1)) continue;
    if (!load_element(cpu, insn, at + u64{n} * element, element, data.data() + std::size_t{i} * element)) return false;
    ++n;
  }
  state.write_vector(insn.reg, data.data(), insn.vlen, true);
  return true;
}

bool narrow_store(SoftCpu& cpu, const Insn& insn, unsigned from, unsigned to, Narrow how) {
  if (!insn.has_mem || !insn.evex || insn.zeroing) return raise(cpu, vec_ud);
  if (!vector_available(cpu, insn)) return false;
  XState state(cpu);
  const unsigned count = insn.vlen / from;
  Vector data{}, narrow{};
  state.read_vector(insn.reg, data.data(), insn.vlen);
  const i64 high = static_cast<i64>(size_mask(to) >> 1), low = -high - 1;
  for (unsigned i = 0; i < count; ++i) {
    u64 value = 0;
    std::memcpy(&value, data.data() + std::size_t{i} * from, from);
    if (how == Narrow::unsigned_saturate) {
      value = std::min(value, size_mask(to));
    } else if (how == Narrow::signed_saturate) {
      const unsigned shift = 64 - 8 * from;
      value = static_cast<u64>(std::clamp(static_cast<i64>(value << shift) >> shift, low, high));
    }
    std::memcpy(narrow.data() + std::size_t{i} * to, &value, to);
  }
  return masked_store(cpu, insn, to, count, evex_mask(state, insn, count), narrow, effective_address(cpu, insn));
}

bool extract_store(SoftCpu& cpu, const Insn& insn, unsigned element, unsigned bytes) {
  if (!insn.has_mem || !insn.evex || insn.zeroing || insn.vlen <= bytes) return raise(cpu, vec_ud);
  if (!vector_available(cpu, insn)) return false;
  XState state(cpu);
  Vector data{}, part{};
  state.read_vector(insn.reg, data.data(), insn.vlen);
  const std::size_t piece = insn.imm & (insn.vlen / bytes - 1);
  std::memcpy(part.data(), data.data() + piece * bytes, bytes);
  const unsigned count = bytes / element;
  return masked_store(cpu, insn, element, count, evex_mask(state, insn, count), part, effective_address(cpu, insn));
}

}  // namespace nagaya::engine::soft::exec
