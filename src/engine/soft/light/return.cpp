// RET far and IRET. Intel SDM vol. 2 RET, IRET; vol. 3, 5.8.6, 6.14.3, 20.2.1.
#include "engine/soft/light/descriptor.hpp"
#include "engine/soft/light/stack.hpp"
#include "engine/soft/light/transfer.hpp"

namespace nagaya::engine::soft {
namespace {

// The CS of a return: everything but its limit.
bool return_code(SoftCpu& cpu, u16 selector, Descriptor& d) {
  if (null_selector(selector)) return raise(cpu, vec_gp, 0);
  const u32 code = selector & ~3u;
  if (!fetch_descriptor(cpu, selector, d)) return false;
  const unsigned rpl = selector & 3;
  if (!d.code() || rpl < cpl(cpu)) return raise(cpu, vec_gp, code);
  if (d.conforming() ? d.dpl() > rpl : d.dpl() != rpl) return raise(cpu, vec_gp, code);
  if (long_mode(cpu) && d.l() && d.db()) return raise(cpu, vec_gp, code);
  if (!d.present()) return raise(cpu, vec_np, code);
  return true;
}

// The SS of a return to ring `rpl`; null is good for 64-bit code that is not ring 3.
bool return_stack(SoftCpu& cpu, u16 selector, unsigned rpl, bool to64, x86::Segment& out) {
  if (null_selector(selector)) {
    if (!to64 || rpl == 3 || (selector & 3u) != rpl) return raise(cpu, vec_gp, 0);
    set_null(out, selector, rpl);
    return true;
  }
  const u32 code = selector & ~3u;
  Descriptor d;
  if (!fetch_descriptor(cpu, selector, d)) return false;
  if ((selector & 3u) != rpl || !d.writable_data() || d.dpl() != rpl) return raise(cpu, vec_gp, code);
  if (!d.present()) return raise(cpu, vec_ss, code);
  if (!mark_accessed(cpu, d)) return false;
  set_segment(out, selector, d);
  return true;
}

bool check_offset(SoftCpu& cpu, const Descriptor& d, u64 offset) {
  x86::Segment cs;
  set_segment(cs, 0, d);
  return valid_target(cs, offset, long_mode(cpu)) || raise(cpu, vec_gp, 0);
}

// rSP as a return loads it: a 16-bit stack takes 16 bits and leaves the rest of ESP.
void load_sp(SoftCpu& cpu, u64 sp, const x86::Segment& ss, bool to64) {
  u64& rsp = cpu.s.gpr[x86::RSP];
  if (to64)
    rsp = sp;
  else if (ss.db())
    rsp = sp & 0xffffffff;
  else
    rsp = (rsp & 0xffff0000) | (sp & 0xffff);
}

u64 flags_mask(const SoftCpu& cpu, unsigned opsize) {
  u64 mask = flag_cf | flag_pf | flag_af | flag_zf | flag_sf | flag_tf | flag_df | flag_of | flag_nt;
  if (opsize != 2) mask |= flag_rf | flag_ac | flag_id;
  if (cpl(cpu) <= iopl(cpu)) mask |= flag_if;
  if (cpl(cpu) == 0) {
    mask |= flag_iopl;
    if (opsize != 2) mask |= flag_vif | flag_vip;
  }
  return mask;
}

void load_flags(SoftCpu& cpu, u64 value, u64 mask) { cpu.s.rflags = (cpu.s.rflags & ~mask) | (value & mask) | 2; }

// Real and virtual-8086 mode.
bool paragraph_iret(SoftCpu& cpu, unsigned opsize) {
  if (v86_mode(cpu) && iopl(cpu) < 3) return raise(cpu, vec_gp, 0);
  Stack st = Stack::current(cpu);
  u64 ip = 0, cs = 0, flags = 0;
  if (!stack_pop(cpu, st, ip, opsize) || !stack_pop(cpu, st, cs, opsize) || !stack_pop(cpu, st, flags, opsize))
    return false;
  if (ip > cpu.s.seg[x86::CS].limit) return raise(cpu, vec_gp, 0);
  u64 mask = 0x7fd5;
  if (opsize != 2) mask |= flag_rf | flag_ac | flag_id;
  if (v86_mode(cpu)) mask &= ~flag_iopl;
  stack_commit(cpu, st);
  set_paragraph(cpu, x86::CS, static_cast<u16>(cs));
  cpu.s.rip = ip;
  load_flags(cpu, flags, mask);
  return true;
}

bool return_to_v86(SoftCpu& cpu, Stack& st, u64 ip, u64 cs, u64 flags) {
  u64 v[6];  // ESP SS ES DS FS GS
  for (u64& value : v)
    if (!stack_pop(cpu, st, value, 4)) return false;
  if (ip > 0xffff) return raise(cpu, vec_gp, 0);
  cpu.s.rflags = (flags & 0x3f7fd5) | 2;
  set_paragraph(cpu, x86::CS, static_cast<u16>(cs));
  set_paragraph(cpu, x86::SS, static_cast<u16>(v[1]));
  set_paragraph(cpu, x86::ES, static_cast<u16>(v[2]));
  set_paragraph(cpu, x86::DS, static_cast<u16>(v[3]));
  set_paragraph(cpu, x86::FS, static_cast<u16>(v[4]));
  set_paragraph(cpu, x86::GS, static_cast<u16>(v[5]));
  cpu.s.gpr[x86::RSP] = v[0];
  cpu.s.rip = ip;
  return true;
}

bool protected_iret(SoftCpu& cpu, unsigned opsize) {
  Stack st = Stack::current(cpu);
  u64 ip = 0, cs = 0, flags = 0, sp = 0, ss_selector = 0;
  const bool whole = code64(cpu) && opsize == 8 && st.sp < st.sp + 39 && canonical(st.sp) && canonical(st.sp + 39);
  if (whole) {
    u64 frame[5];
    if (!mem_read(cpu, st.sp, frame, sizeof frame, st.kind)) return false;
    ip = frame[0], cs = frame[1], flags = frame[2], sp = frame[3], ss_selector = frame[4];
    st.sp += sizeof frame;
  } else if (!stack_pop(cpu, st, ip, opsize) || !stack_pop(cpu, st, cs, opsize) || !stack_pop(cpu, st, flags, opsize)) {
    return false;
  }
  const u16 selector = static_cast<u16>(cs);
  const unsigned current = cpl(cpu);
  if (!long_mode(cpu) && (flags & flag_vm) && current == 0 && opsize == 4) return return_to_v86(cpu, st, ip, cs, flags);
  Descriptor d;
  if (!return_code(cpu, selector, d)) return false;
  const unsigned rpl = selector & 3;
  const bool to64 = long_mode(cpu) && d.l();
  const bool new_stack = rpl > current || code64(cpu);
  x86::Segment ss;
  if (new_stack) {
    if (!whole && (!stack_pop(cpu, st, sp, opsize) || !stack_pop(cpu, st, ss_selector, opsize))) return false;
    if (!return_stack(cpu, static_cast<u16>(ss_selector), rpl, to64, ss)) return false;
  }
  if (!check_offset(cpu, d, ip) || !mark_accessed(cpu, d)) return false;
  load_flags(cpu, flags, flags_mask(cpu, opsize));
  if (new_stack) {
    load_sp(cpu, sp, ss, to64);
    cpu.s.seg[x86::SS] = ss;
  } else {
    stack_commit(cpu, st);
  }
  set_segment(cpu.s.seg[x86::CS], selector, d);
  cpu.s.rip = ip;
  if (rpl > current) drop_inner_segments(cpu, rpl);
  return true;
}

bool any_iret(SoftCpu& cpu, const Insn& insn) {
  if (paragraph_mode(cpu)) return paragraph_iret(cpu, insn.opsize);
  if (cpu.s.rflags & flag_nt) {
    if (long_mode(cpu)) return raise(cpu, vec_gp, 0);
    return task_return(cpu, (cpu.s.rip + insn.length) & 0xffffffff);
  }
  return protected_iret(cpu, insn.opsize);
}

bool paragraph_ret(SoftCpu& cpu, unsigned opsize, u64 release) {
  Stack st = Stack::current(cpu);
  u64 ip = 0, cs = 0;
  if (!stack_pop(cpu, st, ip, opsize) || !stack_pop(cpu, st, cs, opsize)) return false;
  if (ip > cpu.s.seg[x86::CS].limit) return raise(cpu, vec_gp, 0);
  st.sp = (st.sp + release) & st.mask;
  stack_commit(cpu, st);
  set_paragraph(cpu, x86::CS, static_cast<u16>(cs));
  cpu.s.rip = ip;
  mode_changed(cpu);
  return true;
}

}  // namespace

bool iret(SoftCpu& cpu, const Insn& insn) {
  const bool was64 = code64(cpu);
  const bool done = any_iret(cpu, insn);
  if (cpu.need_heavy) return false;
  // NMIs are unblocked even by an IRET that faults. SDM vol. 3, 6.7.1.
  cpu.s.events.nmi_blocked = false;
  if (done && cpl(cpu) == 3) program_goes_on(cpu);
  if (done && !(was64 && code64(cpu))) mode_changed(cpu);  // between 64-bit segments no base changes
  return done;
}

bool far_ret(SoftCpu& cpu, unsigned opsize, u64 release) {
  if (paragraph_mode(cpu)) return paragraph_ret(cpu, opsize, release);
  Stack st = Stack::current(cpu);
  u64 ip = 0, cs = 0;
  if (!stack_pop(cpu, st, ip, opsize) || !stack_pop(cpu, st, cs, opsize)) return false;
  const u16 selector = static_cast<u16>(cs);
  const unsigned current = cpl(cpu), rpl = selector & 3;
  Descriptor d;
  if (!return_code(cpu, selector, d)) return false;
  const bool to64 = long_mode(cpu) && d.l();
  st.sp = (st.sp + release) & st.mask;
  if (rpl > current) {
    x86::Segment ss;
    u64 sp = 0, ss_selector = 0;
    if (!stack_pop(cpu, st, sp, opsize) || !stack_pop(cpu, st, ss_selector, opsize)) return false;
    if (!return_stack(cpu, static_cast<u16>(ss_selector), rpl, to64, ss)) return false;
    if (!check_offset(cpu, d, ip) || !mark_accessed(cpu, d)) return false;
    load_sp(cpu, sp + release, ss, to64);
    cpu.s.seg[x86::SS] = ss;
    drop_inner_segments(cpu, rpl);
  } else {
    if (!check_offset(cpu, d, ip) || !mark_accessed(cpu, d)) return false;
    stack_commit(cpu, st);
  }
  set_segment(cpu.s.seg[x86::CS], selector, d);
  cpu.s.rip = ip;
  mode_changed(cpu);
  return true;
}

}  // namespace nagaya::engine::soft
