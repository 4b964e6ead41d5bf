// Gathers (AVX2, AVX-512) and scatters. Elements go from low to high; when one faults, those before it are done and their
// mask bits are clear, so that the instruction goes on from there. Source: Intel SDM vol. 2, VPGATHERDD …, VPSCATTERDD ….
#include "engine/soft/execute_heavy.hpp"
#include "engine/soft/vector_operand.hpp"

namespace nagaya::engine::soft::exec {
namespace {

struct Shape {
  unsigned element, index, count;
};

/// Opcode bit 0: quadword indices; W: quadword elements. The wider of both fills the vector length.
Shape shape_of(const Insn& insn) {
  const unsigned element = insn.rex_w ? 8 : 4, index = insn.opcode & 1 ? 8 : 4;
  return {element, index, insn.vlen / (element > index ? element : index)};
}

/// Offset of element `i` in the segment.
u64 element_offset(const SoftCpu& cpu, const Insn& insn, const Shape& shape, const u8* indices, unsigned i) {
  i64 index;
  if (shape.index == 8) {
    std::memcpy(&index, indices + std::size_t{8} * i, 8);
  } else {
    i32 narrow;
    std::memcpy(&narrow, indices + std::size_t{4} * i, 4);
    index = narrow;
  }
  u64 at = static_cast<u64>(insn.disp) + static_cast<u64>(index) * insn.scale;
  if (insn.base != no_reg) at += cpu.s.gpr[insn.base & 15];
  return at;
}

bool gather_vex(SoftCpu& cpu, const Insn& insn, const Shape& shape) {
  if (insn.reg == insn.vvvv || insn.reg == insn.index || insn.vvvv == insn.index) return raise(cpu, vec_ud);
  XState state(cpu);
  std::array<u8, 64> indices{}, mask{}, data{};
  state.read_vector(insn.index, indices.data(), insn.vlen);
  state.read_vector(insn.vvvv, mask.data(), insn.vlen);
  state.read_vector(insn.reg, data.data(), insn.vlen);
  const unsigned bytes = shape.count * shape.element;
  bool ok = true;
  for (unsigned i = 0; i < shape.count && ok; ++i) {
    const std::size_t at = std::size_t{i} * shape.element;
    if (mask[at + shape.element - 1] & 0x80) {
      ok = load_element(cpu, insn, element_offset(cpu, insn, shape, indices.data(), i), shape.element, data.data() + at);
    }
    if (ok) std::memset(mask.data() + at, 0, shape.element);
  }
  if (ok) {
    std::memset(data.data() + bytes, 0, data.size() - bytes);
    mask.fill(0);
  }
  state.write_vector(insn.reg, data.data(), insn.vlen, true);
  state.write_vector(insn.vvvv, mask.data(), insn.vlen, true);
  return ok;
}

bool gather_evex(SoftCpu& cpu, const Insn& insn, const Shape& shape) {
  if (insn.kmask == 0 || insn.reg == insn.index || insn.zeroing) return raise(cpu, vec_ud);
  XState state(cpu);
  std::array<u8, 64> indices{}, data{};
  state.read_vector(insn.index, indices.data(), insn.vlen);
  state.read_vector(insn.reg, data.data(), insn.vlen);
  const unsigned bytes = shape.count * shape.element;
  u64 mask = evex_mask(state, insn, shape.count);
  bool ok = true;
  for (unsigned i = 0; i < shape.count && ok; ++i) {
    if (!(mask >> i & 1)) continue;
    ok = load_element(cpu, insn, element_offset(cpu, insn, shape, indices.data(), i), shape.element,
                      data.data() + std::size_t{i} * shape.element);
    if (ok) mask &= ~(u64{1} << i);
  }
  if (ok) std::memset(data.data() + bytes, 0, data.size() - bytes);
  state.write_vector(insn.reg, data.data(), insn.vlen, true);
  state.set_opmask(insn.kmask, mask);
  return ok;
}

}  // namespace

bool gather(SoftCpu& cpu, const Insn& insn) {
  if (!insn.has_mem) return raise(cpu, vec_ud);
  if (!vector_available(cpu, insn)) return false;
  return insn.evex ? gather_evex(cpu, insn, shape_of(insn)) : gather_vex(cpu, insn, shape_of(insn));
}

bool scatter(SoftCpu& cpu, const Insn& insn) {
  if (!insn.has_mem || !insn.evex || insn.kmask == 0 || insn.zeroing) return raise(cpu, vec_ud);
  if (!vector_available(cpu, insn)) return false;
  const Shape shape = shape_of(insn);
  XState state(cpu);
  std::array<u8, 64> indices{}, data{};
  state.read_vector(insn.index, indices.data(), insn.vlen);
  state.read_vector(insn.reg, data.data(), insn.vlen);
  u64 mask = evex_mask(state, insn, shape.count);
  bool ok = true;
  for (unsigned i = 0; i < shape.count && ok; ++i) {
    if (!(mask >> i & 1)) continue;
    ok = store_element(cpu, insn, element_offset(cpu, insn, shape, indices.data(), i), shape.element,
                       data.data() + std::size_t{i} * shape.element);
    if (ok) mask &= ~(u64{1} << i);
  }
  state.set_opmask(insn.kmask, mask);
  return ok;
}

}  // namespace nagaya::engine::soft::exec
