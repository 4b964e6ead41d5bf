// JMP and CALL far, through gates or not. Intel SDM vol. 2 JMP, CALL; vol. 3, 5.8.
#include "engine/soft/light/transfer.hpp"

#include "engine/soft/light/deliver_detail.hpp"
#include "engine/soft/light/descriptor.hpp"

namespace nagaya::engine::soft {

bool valid_target(const x86::Segment& cs, u64 offset, bool in_long_mode) {
  return in_long_mode && cs.l() ? canonical(offset) : offset <= cs.limit;
}

namespace {

enum SystemType : unsigned { tss16 = 1, call_gate16 = 4, task_gate = 5, tss32 = 9, call_gate32 = 12 };

// What CS becomes, already checked.
struct Target {
  Descriptor d;
  u16 selector = 0;
  u64 offset = 0;
  unsigned opsize = 0;  ///< of pushes
};

bool check_target(SoftCpu& cpu, const Target& t) {
  x86::Segment cs;
  set_segment(cs, t.selector, t.d);
  return valid_target(cs, t.offset, long_mode(cpu)) || raise(cpu, vec_gp, 0);
}

void enter_target(SoftCpu& cpu, const Target& t, unsigned new_cpl) {
  set_segment(cpu.s.seg[x86::CS], static_cast<u16>((t.selector & ~3u) | new_cpl), t.d);
  cpu.s.rip = t.offset;
  mode_changed(cpu);
}

// A code segment named by the instruction itself.
bool direct_target(SoftCpu& cpu, const Descriptor& d, u16 selector, u64 offset, unsigned opsize, Target& t) {
  const u32 code = selector & ~3u;
  const unsigned current = cpl(cpu);
  if (d.conforming() ? d.dpl() > current : (selector & 3u) > current || d.dpl() != current)
    return raise(cpu, vec_gp, code);
  if (!d.present()) return raise(cpu, vec_np, code);
  if (long_mode(cpu) && d.l() && d.db()) return raise(cpu, vec_gp, code);
  t = {d, selector, offset, opsize};
  if (opsize == 2) t.offset &= 0xffff;
  if (opsize == 4) t.offset &= 0xffffffff;
  return check_target(cpu, t);
}

// The code segment behind a call gate. `params`: its count field.
bool gate_target(SoftCpu& cpu, u16 selector, Descriptor gate, bool call, Target& t, unsigned& params) {
  const u32 gate_code = selector & ~3u;
  const unsigned current = cpl(cpu);
  if (gate.dpl() < current || gate.dpl() < (selector & 3u)) return raise(cpu, vec_gp, gate_code);
  if (!gate.present()) return raise(cpu, vec_np, gate_code);
  if (long_mode(cpu) && (gate.high >> 40 & 0x1f)) return raise(cpu, vec_gp, gate_code);
  const u16 cs = gate.low >> 16 & 0xffff;
  if (null_selector(cs)) return raise(cpu, vec_gp, 0);
  const u32 code = cs & ~3u;
  if (!fetch_descriptor(cpu, cs, t.d)) return false;
  if (!t.d.code() || t.d.dpl() > current) return raise(cpu, vec_gp, code);
  if (!call && !t.d.conforming() && t.d.dpl() != current) return raise(cpu, vec_gp, code);
  if (long_mode(cpu) && (!t.d.l() || t.d.db())) return raise(cpu, vec_gp, code);
  if (!t.d.present()) return raise(cpu, vec_np, code);
  t.selector = cs;
  t.offset = gate.low & 0xffff;
  t.opsize = 2;
  if (gate.type() == call_gate32) {
    t.offset |= gate.low >> 48 << 16;
    t.opsize = 4;
  }
  if (long_mode(cpu)) {
    t.offset |= gate.high << 32;
    t.opsize = 8;
  }
  params = gate.low >> 32 & 31;
  // The target's limit is checked after the stack's: by the callers.
  return true;
}

bool to_task(SoftCpu& cpu, u16 selector, const Descriptor& d, TaskReason reason, u64 next_rip) {
  const u32 code = selector & ~3u;
  if (d.dpl() < cpl(cpu) || d.dpl() < (selector & 3u)) return raise(cpu, vec_gp, code);
  if (d.type() != task_gate) return task_switch(cpu, selector, reason, next_rip);
  if (!d.present()) return raise(cpu, vec_np, code);
  return task_switch(cpu, d.low >> 16 & 0xffff, reason, next_rip);
}

bool is_call_gate(const SoftCpu& cpu, const Descriptor& d) {
  return d.type() == call_gate32 || (d.type() == call_gate16 && !long_mode(cpu));
}
bool is_task(const SoftCpu& cpu, const Descriptor& d) {
  return !long_mode(cpu) &&
         (d.type() == tss16 || d.type() == tss32 || d.type() == task_gate || d.type() == 3 || d.type() == 11);
}

bool paragraph_target(SoftCpu& cpu, u64& offset, unsigned opsize) {
  if (opsize == 2) offset &= 0xffff;
  return offset <= cpu.s.seg[x86::CS].limit || raise(cpu, vec_gp, 0);
}

// A call gate to an inner ring.
bool call_inner(SoftCpu& cpu, Target& t, unsigned params, u64 next_rip) {
  const unsigned ring = t.d.dpl();
  auto& s = cpu.s;
  if (long_mode(cpu)) {
    u64 rsp = 0;
    if (!tss_stack64(cpu, ring, 0, 0, rsp)) return false;
    Stack st;
    st.flat64 = true;
    st.mask = ~0ull;
    st.sp = rsp;
    st.kind = stack_kind(cpu, ring);
    const u64 frame[4] = {s.seg[x86::SS].selector, s.gpr[x86::RSP], s.seg[x86::CS].selector, next_rip};
    if (!check_target(cpu, t) || !mark_accessed(cpu, t.d) || !stack_push(cpu, st, frame, 4, 8)) return false;
    set_null(s.seg[x86::SS], static_cast<u16>(ring), ring);
    s.gpr[x86::RSP] = st.sp;
    enter_target(cpu, t, ring);
    return true;
  }
  u16 ss = 0;
  u32 esp = 0;
  Stack inner, outer = Stack::current(cpu);
  if (!tss_stack(cpu, ring, 0, ss, esp) || !inner_stack(cpu, ss, esp, ring, 0, inner)) return false;
  u64 frame[max_push];
  unsigned n = 0;
  frame[n++] = s.seg[x86::SS].selector;
  frame[n++] = s.gpr[x86::RSP] & 0xffffffff;
  for (unsigned i = 0; i < params; i++)
    if (!stack_pop(cpu, outer, frame[2 + params - 1 - i], t.opsize)) return false;
  n += params;
  frame[n++] = s.seg[x86::CS].selector;
  frame[n++] = next_rip;
  if (!check_target(cpu, t) || !mark_accessed(cpu, t.d) || !stack_push(cpu, inner, frame, n, t.opsize)) return false;
  s.seg[x86::SS] = inner.segment;
  s.gpr[x86::RSP] = (esp & ~inner.mask) | inner.sp;
  enter_target(cpu, t, ring);
  return true;
}

bool call_same(SoftCpu& cpu, Target& t, u64 next_rip) {
  Stack st = Stack::current(cpu);
  const u64 frame[2] = {cpu.s.seg[x86::CS].selector, next_rip};
  if (!mark_accessed(cpu, t.d) || !stack_push(cpu, st, frame, 2, t.opsize)) return false;
  stack_commit(cpu, st);
  enter_target(cpu, t, cpl(cpu));
  return true;
}

}  // namespace

bool far_jump(SoftCpu& cpu, u16 selector, u64 offset, unsigned opsize, u64 next_rip) {
  if (paragraph_mode(cpu)) {
    if (!paragraph_target(cpu, offset, opsize)) return false;
    set_paragraph(cpu, x86::CS, selector);
    cpu.s.rip = offset;
    mode_changed(cpu);
    return true;
  }
  if (null_selector(selector)) return raise(cpu, vec_gp, 0);
  Descriptor d;
  if (!fetch_descriptor(cpu, selector, d, vec_gp, 0, long_mode(cpu))) return false;
  Target t;
  if (d.code()) {
    if (!direct_target(cpu, d, selector, offset, opsize, t)) return false;
  } else if (!d.s() && is_call_gate(cpu, d)) {
    unsigned params = 0;
    if (!gate_target(cpu, selector, d, false, t, params) || !check_target(cpu, t)) return false;
  } else if (!d.s() && is_task(cpu, d)) {
    return to_task(cpu, selector, d, TaskReason::jump, next_rip);
  } else {
    return raise(cpu, vec_gp, selector & ~3u);
  }
  if (!mark_accessed(cpu, t.d)) return false;
  enter_target(cpu, t, cpl(cpu));
  return true;
}

bool far_call(SoftCpu& cpu, u16 selector, u64 offset, unsigned opsize, u64 next_rip) {
  if (paragraph_mode(cpu)) {
    Stack st = Stack::current(cpu);
    const u64 frame[2] = {cpu.s.seg[x86::CS].selector, next_rip};
    if (!paragraph_target(cpu, offset, opsize) || !stack_push(cpu, st, frame, 2, opsize)) return false;
    stack_commit(cpu, st);
    set_paragraph(cpu, x86::CS, selector);
    cpu.s.rip = offset;
    mode_changed(cpu);
    return true;
  }
  if (null_selector(selector)) return raise(cpu, vec_gp, 0);
  Descriptor d;
  if (!fetch_descriptor(cpu, selector, d, vec_gp, 0, long_mode(cpu))) return false;
  Target t;
  if (d.code()) return direct_target(cpu, d, selector, offset, opsize, t) && call_same(cpu, t, next_rip);
  if (!d.s() && is_call_gate(cpu, d)) {
    unsigned params = 0;
    if (!gate_target(cpu, selector, d, true, t, params)) return false;
    if (!t.d.conforming() && t.d.dpl() < cpl(cpu)) return call_inner(cpu, t, params, next_rip);
    return check_target(cpu, t) && call_same(cpu, t, next_rip);
  }
  if (!d.s() && is_task(cpu, d)) return to_task(cpu, selector, d, TaskReason::call, next_rip);
  return raise(cpu, vec_gp, selector & ~3u);
}

}  // namespace nagaya::engine::soft
