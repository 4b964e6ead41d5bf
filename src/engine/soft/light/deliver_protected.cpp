// Delivery in real mode and through the IDT of legacy protected mode, virtual-8086 entry included. Intel SDM vol.
// 3, 6.12, 20.1.4, 20.3; vol. 2 INT n.
#include "engine/soft/light/deliver_detail.hpp"
#include "engine/soft/light/descriptor.hpp"
#include "engine/soft/light/transfer.hpp"

namespace nagaya::engine::soft {

bool deliver_real(SoftCpu& cpu, const Event& event) {
  const u32 offset = event.vector * 4u;
  if (offset + 3 > cpu.s.idtr.limit) return raise(cpu, vec_gp, offset * 2 + 2 + event.ext);
  u32 entry = 0;
  if (!mem_get(cpu, (cpu.s.idtr.base + offset) & 0xffffffff, entry, implicit_kind)) return false;
  Stack st = Stack::current(cpu);
  const u64 frame[3] = {event.flags, cpu.s.seg[x86::CS].selector, event.rip};
  if (!stack_push(cpu, st, frame, 3, 2)) return false;
  stack_commit(cpu, st);
  set_paragraph(cpu, x86::CS, static_cast<u16>(entry >> 16));
  cpu.s.rip = entry & 0xffff;
  cpu.s.rflags &= ~(flag_if | flag_tf | flag_rf | flag_ac);
  mode_changed(cpu);
  return true;
}

bool tss_stack(SoftCpu& cpu, unsigned ring, unsigned ext, u16& ss, u32& esp) {
  const u32 code = (cpu.s.tr.selector & ~3u) | ext;
  const bool wide = cpu.s.tr.type() & 8;
  const unsigned offset = wide ? ring * 8 + 4 : ring * 4 + 2;
  const bool usable = !cpu.s.tr.unusable && (cpu.s.tr.selector & 0xfffc);
  if (!usable || offset + (wide ? 5 : 3) > cpu.s.tr.limit) return raise(cpu, vec_ts, code);
  const u64 at = cpu.s.tr.base + offset;
  esp = 0;
  return mem_read(cpu, at & 0xffffffff, &esp, wide ? 4 : 2, implicit_kind) &&
         mem_get(cpu, (at + (wide ? 4 : 2)) & 0xffffffff, ss, implicit_kind);
}

bool inner_stack(SoftCpu& cpu, u16 selector, u32 esp, unsigned ring, unsigned ext, Stack& out) {
  if (null_selector(selector)) return raise(cpu, vec_ts, ext);
  const u32 code = (selector & ~3u) | ext;
  Descriptor d;
  if (!fetch_descriptor(cpu, selector, d, vec_ts, ext)) return false;
  if ((selector & 3u) != ring || d.dpl() != ring || !d.writable_data()) return raise(cpu, vec_ts, code);
  if (!d.present()) return raise(cpu, vec_ss, code);
  if (!mark_accessed(cpu, d)) return false;
  set_segment(out.segment, selector, d);
  out.mask = d.db() ? 0xffffffff : 0xffff;
  // The upper half of ESP is loaded too; it shows when the stack is a 16-bit one.
  out.sp = esp & out.mask;
  out.kind = stack_kind(cpu, ring);
  out.error_code = code;
  return true;
}

namespace {

struct Gate {
  bool wide;       ///< 32-bit gate
  bool interrupt;  ///< clears IF
};

void enter(SoftCpu& cpu, const Gate& gate, const Descriptor& d, u16 selector, unsigned new_cpl, u32 target) {
  set_segment(cpu.s.seg[x86::CS], static_cast<u16>((selector & ~3u) | new_cpl), d);
  cpu.s.rip = target;
  cpu.s.rflags &= ~(flag_tf | flag_nt | flag_rf | flag_vm);
  if (gate.interrupt) cpu.s.rflags &= ~flag_if;
  mode_changed(cpu);
}

// To an inner ring, from virtual-8086 mode or not.
bool enter_inner(SoftCpu& cpu, const Event& event, const Gate& gate, Descriptor& d, u16 selector, u32 target) {
  const unsigned new_cpl = d.dpl();
  u16 ss = 0;
  u32 esp = 0;
  if (!tss_stack(cpu, new_cpl, event.ext, ss, esp)) return false;
  Stack st;
  if (!inner_stack(cpu, ss, esp, new_cpl, event.ext, st)) return false;
  if (!valid_target(x86::Segment{.limit = d.limit()}, target, false)) return raise(cpu, vec_gp, event.ext);
  u64 frame[10];
  unsigned n = 0;
  const auto& seg = cpu.s.seg;
  const bool from_v86 = v86_mode(cpu);
  if (from_v86)
    for (u8 i : {x86::GS, x86::FS, x86::DS, x86::ES}) frame[n++] = seg[i].selector;
  frame[n++] = seg[x86::SS].selector;
  frame[n++] = cpu.s.gpr[x86::RSP] & 0xffffffff;
  frame[n++] = event.flags;
  frame[n++] = seg[x86::CS].selector;
  frame[n++] = event.rip;
  if (event.has_code) frame[n++] = event.code;
  if (!mark_accessed(cpu, d)) return false;
  if (!stack_push(cpu, st, frame, n, gate.wide ? 4 : 2)) return false;
  cpu.s.seg[x86::SS] = st.segment;
  cpu.s.gpr[x86::RSP] = (esp & ~st.mask) | st.sp;
  if (from_v86)
    for (u8 i : {x86::GS, x86::FS, x86::DS, x86::ES}) set_null(cpu.s.seg[i], 0);
  enter(cpu, gate, d, selector, new_cpl, target);
  return true;
}

bool enter_same(SoftCpu& cpu, const Event& event, const Gate& gate, Descriptor& d, u16 selector, u32 target) {
  Stack st = Stack::current(cpu);
  st.error_code = event.ext;
  if (!valid_target(x86::Segment{.limit = d.limit()}, target, false)) return raise(cpu, vec_gp, event.ext);
  const u64 frame[4] = {event.flags, cpu.s.seg[x86::CS].selector, event.rip, event.code};
  if (!mark_accessed(cpu, d)) return false;
  if (!stack_push(cpu, st, frame, event.has_code ? 4 : 3, gate.wide ? 4 : 2)) return false;
  stack_commit(cpu, st);
  enter(cpu, gate, d, selector, cpl(cpu), target);
  return true;
}

}  // namespace

bool deliver_protected(SoftCpu& cpu, const Event& event) {
  if (event.iopl_checked && v86_mode(cpu) && iopl(cpu) < 3) return raise(cpu, vec_gp, 0);
  const u32 idt_code = event.vector * 8u + 2 + event.ext;
  if (event.vector * 8u + 7 > cpu.s.idtr.limit) return raise(cpu, vec_gp, idt_code);
  u64 raw = 0;
  if (!mem_get(cpu, (cpu.s.idtr.base + event.vector * 8u) & 0xffffffff, raw, implicit_kind)) return false;
  const unsigned type = raw >> 40 & 0x1f, gate_dpl = raw >> 45 & 3;
  if (type != 5 && type != 6 && type != 7 && type != 14 && type != 15) return raise(cpu, vec_gp, idt_code);
  const unsigned old_cpl = cpl(cpu);
  if (event.software && gate_dpl < old_cpl) return raise(cpu, vec_gp, idt_code);
  if (!(raw >> 47 & 1)) return raise(cpu, vec_np, idt_code);

  const u16 selector = raw >> 16 & 0xffff;
  const u32 code = (selector & ~3u) | event.ext;
  if (type == 5) {
    if (selector & 4) return raise(cpu, vec_gp, code);
    return task_switch(cpu, selector, TaskReason::gate, event.rip, event.ext, event.has_code, event.code, &event.flags);
  }
  if (null_selector(selector)) return raise(cpu, vec_gp, event.ext);
  Descriptor d;
  if (!fetch_descriptor(cpu, selector, d, vec_gp, event.ext)) return false;
  if (!d.code() || d.dpl() > old_cpl) return raise(cpu, vec_gp, code);
  if (!d.present()) return raise(cpu, vec_np, code);

  const Gate gate{.wide = (type & 8) != 0, .interrupt = (type & 1) == 0};
  u32 target = raw & 0xffff;
  if (gate.wide) target |= static_cast<u32>(raw >> 48) << 16;
  if (!d.conforming() && d.dpl() < old_cpl) {
    if (v86_mode(cpu) && d.dpl() != 0) return raise(cpu, vec_gp, code);
    return enter_inner(cpu, event, gate, d, selector, target);
  }
  if (v86_mode(cpu)) return raise(cpu, vec_gp, code);
  return enter_same(cpu, event, gate, d, selector, target);
}

}  // namespace nagaya::engine::soft
