// Pushes and pops in every mode. Intel SDM vol. 1, 6.2.
#include "engine/soft/light/stack.hpp"

namespace nagaya::engine::soft {
namespace {

bool stack_fault(SoftCpu& cpu, const Stack& st) { return raise(cpu, vec_ss, st.error_code); }

bool slot_linear(SoftCpu& cpu, const Stack& st, u64 offset, unsigned size, u64& linear) {
  if (st.flat64) {
    linear = offset;
    if (!canonical(offset) || !canonical(offset + size - 1)) return stack_fault(cpu, st);
    return true;
  }
  const u64 last = offset + size - 1;
  if (st.segment.unusable) return stack_fault(cpu, st);
  if (!st.paragraph && (st.segment.type() & 0xc) == 4) {
    const u64 top = st.segment.db() ? 0xffffffff : 0xffff;
    if (offset <= st.segment.limit || last > top) return stack_fault(cpu, st);
  } else if (last > st.segment.limit && st.segment.limit != 0xffffffff) {
    return stack_fault(cpu, st);
  }
  linear = (st.segment.base + offset) & 0xffffffff;
  return true;
}

}  // namespace

u64 stack_mask(const SoftCpu& cpu) {
  if (code64(cpu)) return ~0ull;
  return cpu.s.seg[x86::SS].db() ? 0xffffffff : 0xffff;
}

Stack Stack::current(const SoftCpu& cpu) {
  Stack st;
  st.mask = stack_mask(cpu);
  st.sp = cpu.s.gpr[x86::RSP] & st.mask;
  st.segment = cpu.s.seg[x86::SS];
  st.paragraph = paragraph_mode(cpu);
  st.flat64 = code64(cpu);
  st.kind = current_kind(cpu);
  return st;
}

bool stack_push(SoftCpu& cpu, Stack& st, const u64* values, unsigned count, unsigned size) {
  u64 linear[max_push];
  u64 sp = st.sp;
  for (unsigned i = 0; i < count; i++) {
    sp = (sp - size) & st.mask;
    if (!slot_linear(cpu, st, sp, size, linear[i])) return false;
    if (!mem_probe_write(cpu, linear[i], size, st.kind)) return false;
  }
  for (unsigned i = 0; i < count; i++)
    if (!mem_write(cpu, linear[i], &values[i], size, st.kind)) return false;
  st.sp = sp;
  return true;
}

bool stack_room(SoftCpu& cpu, const Stack& st, unsigned bytes) {
  u64 linear = 0;
  // Two bytes at a time, as a 16-bit stack may wrap within the range.
  for (unsigned done = 2; done <= bytes; done += 2)
    if (!slot_linear(cpu, st, (st.sp - done) & st.mask, 2, linear)) return false;
  return true;
}

bool stack_pop(SoftCpu& cpu, Stack& st, u64& value, unsigned size) {
  u64 linear = 0;
  value = 0;
  if (!slot_linear(cpu, st, st.sp, size, linear)) return false;
  if (!mem_read(cpu, linear, &value, size, st.kind)) return false;
  st.sp = (st.sp + size) & st.mask;
  return true;
}

void stack_commit(SoftCpu& cpu, const Stack& st) {
  u64& rsp = cpu.s.gpr[x86::RSP];
  rsp = (rsp & ~st.mask) | (st.sp & st.mask);
  if (st.mask == 0xffffffff) rsp &= 0xffffffff;
}

bool push(SoftCpu& cpu, u64 value, unsigned size) {
  Stack st = Stack::current(cpu);
  if (!stack_push(cpu, st, &value, 1, size)) return false;
  stack_commit(cpu, st);
  return true;
}

bool pop(SoftCpu& cpu, u64& value, unsigned size) {
  Stack st = Stack::current(cpu);
  if (!stack_pop(cpu, st, value, size)) return false;
  stack_commit(cpu, st);
  return true;
}

}  // namespace nagaya::engine::soft
