// Hardware task switching with 16- and 32-bit TSSs. Intel SDM vol. 3, ch. 7.
#include "engine/soft/light/deliver.hpp"
#include "engine/soft/light/descriptor.hpp"
#include "engine/soft/light/stack.hpp"
#include "engine/soft/light/tlb.hpp"
#include "engine/soft/light/transfer.hpp"

namespace nagaya::engine::soft {
namespace {

// The part of a TSS that a switch moves, whatever its width.
struct TaskState {
  u32 cr3 = 0, eip = 0, eflags = 0;
  u32 gpr[8] = {};
  u16 seg[6] = {};
  u16 ldt = 0;
  bool trap = false;
};

constexpr unsigned limit32 = 0x67, limit16 = 0x2b;

u32 field32(const u8* at) {
  u32 v;
  __builtin_memcpy(&v, at, 4);
  return v;
}
u16 field16(const u8* at) {
  u16 v;
  __builtin_memcpy(&v, at, 2);
  return v;
}

bool load_state(SoftCpu& cpu, u64 base, bool wide, TaskState& t) {
  u8 tss[0x68];
  if (!mem_read(cpu, base & 0xffffffff, tss, wide ? limit32 + 1 : limit16 + 1, implicit_kind)) return false;
  if (wide) {
    t.cr3 = field32(tss + 0x1c);
    t.eip = field32(tss + 0x20);
    t.eflags = field32(tss + 0x24);
    for (unsigned i = 0; i < 8; i++) t.gpr[i] = field32(tss + 0x28 + i * 4);
    for (unsigned i = 0; i < 6; i++) t.seg[i] = field16(tss + 0x48 + i * 4);
    t.ldt = field16(tss + 0x60);
    t.trap = tss[0x64] & 1;
  } else {
    t.eip = field16(tss + 0x0e);
    t.eflags = field16(tss + 0x10);
    for (unsigned i = 0; i < 8; i++) t.gpr[i] = field16(tss + 0x12 + i * 2);
    for (unsigned i = 0; i < 4; i++) t.seg[i] = field16(tss + 0x22 + i * 2);
    t.ldt = field16(tss + 0x2a);
  }
  return true;
}

struct SaveArea {
  u8 bytes[0x40];
  unsigned offset, size;
};

SaveArea save_state(const SoftCpu& cpu, bool wide, u64 next_rip, u64 flags) {
  SaveArea area;
  u8* at = area.bytes;
  const auto put = [&](u32 value) {
    __builtin_memcpy(at, &value, 4);
    at += wide ? 4 : 2;
  };
  put(static_cast<u32>(next_rip));
  put(static_cast<u32>(flags));
  for (unsigned i = 0; i < 8; i++) put(static_cast<u32>(cpu.s.gpr[i]));
  for (unsigned i = 0; i < (wide ? 6u : 4u); i++) put(cpu.s.seg[i].selector);
  area.offset = wide ? 0x20 : 0x0e;
  area.size = static_cast<unsigned>(at - area.bytes);
  return area;
}

// Descriptors of the new task, in its context: faults are #TS, #NP, #SS with the selector.
bool load_ldt(SoftCpu& cpu, u16 selector, unsigned ext) {
  set_null(cpu.s.ldtr, selector);
  if (null_selector(selector)) return true;
  const u32 code = (selector & ~3u) | ext;
  if (selector & 4) return raise(cpu, vec_ts, code);
  Descriptor d;
  if (!fetch_descriptor(cpu, selector, d, vec_ts, ext)) return false;
  if (d.s() || d.type() != 2 || !d.present()) return raise(cpu, vec_ts, code);
  set_segment(cpu.s.ldtr, selector, d);
  return true;
}

bool load_cs(SoftCpu& cpu, u16 selector, unsigned ext) {
  if (null_selector(selector)) return raise(cpu, vec_ts, ext);
  const u32 code = (selector & ~3u) | ext;
  Descriptor d;
  if (!fetch_descriptor(cpu, selector, d, vec_ts, ext)) return false;
  const unsigned rpl = selector & 3;
  if (!d.code() || (d.conforming() ? d.dpl() > rpl : d.dpl() != rpl)) return raise(cpu, vec_ts, code);
  if (!d.present()) return raise(cpu, vec_np, code);
  if (!mark_accessed(cpu, d)) return false;
  set_segment(cpu.s.seg[x86::CS], selector, d);
  return true;
}

bool load_ss(SoftCpu& cpu, u16 selector, unsigned ring, unsigned ext) {
  if (null_selector(selector)) return raise(cpu, vec_ts, ext);
  const u32 code = (selector & ~3u) | ext;
  Descriptor d;
  if (!fetch_descriptor(cpu, selector, d, vec_ts, ext)) return false;
  if (!d.writable_data() || d.dpl() != ring || (selector & 3u) != ring) return raise(cpu, vec_ts, code);
  if (!d.present()) return raise(cpu, vec_ss, code);
  if (!mark_accessed(cpu, d)) return false;
  set_segment(cpu.s.seg[x86::SS], selector, d);
  return true;
}

bool load_data(SoftCpu& cpu, u8 seg, u16 selector, unsigned ring, unsigned ext) {
  if (null_selector(selector)) return true;
  const u32 code = (selector & ~3u) | ext;
  Descriptor d;
  if (!fetch_descriptor(cpu, selector, d, vec_ts, ext)) return false;
  const bool ring_free = d.code() && d.conforming();
  if (!d.readable() || (!ring_free && (d.dpl() < ring || d.dpl() < (selector & 3u)))) return raise(cpu, vec_ts, code);
  if (!d.present()) return raise(cpu, vec_np, code);
  if (!mark_accessed(cpu, d)) return false;
  set_segment(cpu.s.seg[seg], selector, d);
  return true;
}

bool load_segments(SoftCpu& cpu, const TaskState& t, unsigned ext) {
  const unsigned ring = t.seg[x86::CS] & 3;
  for (u8 i = 0; i < 6; i++) set_null(cpu.s.seg[i], t.seg[i], ring);
  if (t.eflags & flag_vm) {
    for (u8 i = 0; i < 6; i++) set_paragraph(cpu, i, t.seg[i]);
    return load_ldt(cpu, t.ldt, ext);
  }
  if (!load_ldt(cpu, t.ldt, ext) || !load_cs(cpu, t.seg[x86::CS], ext) || !load_ss(cpu, t.seg[x86::SS], ring, ext))
    return false;
  for (u8 i : {x86::ES, x86::DS, x86::FS, x86::GS})
    if (!load_data(cpu, i, t.seg[i], ring, ext)) return false;
  return true;
}

}  // namespace

bool task_switch(SoftCpu& cpu, u16 tss_selector, TaskReason reason, u64 next_rip, unsigned ext, bool push_code,
                 u32 code, const u64* flags) {
  if (!cpu.heavy) {
    // Loads after the commit point may meet anything, and cannot be started again.
    cpu.need_heavy = true;
    return false;
  }
  auto& s = cpu.s;
  const bool back = reason == TaskReason::iret;
  const bool nested = reason == TaskReason::call || reason == TaskReason::gate;
  const u8 bad = back ? vec_ts : vec_gp;
  const u32 tss_code = (tss_selector & ~3u) | ext;
  if ((tss_selector & 4) || null_selector(tss_selector)) return raise(cpu, bad, tss_code);
  Descriptor d;
  if (!fetch_descriptor(cpu, tss_selector, d, bad, ext)) return false;
  if (d.s() || (d.type() & ~8u) != (back ? 3u : 1u)) return raise(cpu, bad, tss_code);
  if (!d.present()) return raise(cpu, vec_np, tss_code);
  const bool wide = d.type() & 8, old_wide = s.tr.type() & 8;
  if (d.limit() < (wide ? limit32 : limit16)) return raise(cpu, vec_ts, tss_code);

  // Everything that can fault in the old task's context.
  u64 old_flags = flags ? *flags : s.rflags;
  if (back) old_flags &= ~flag_nt;
  const SaveArea area = save_state(cpu, old_wide, next_rip, old_flags);
  const u64 save_at = (s.tr.base + area.offset) & 0xffffffff;
  u64 old_descriptor = 0;
  const bool clear_busy = !nested && selector_in_table(cpu, s.tr.selector & 0xfff8, false, old_descriptor);
  if (!mem_probe_write(cpu, save_at, area.size, implicit_kind)) return false;
  TaskState t;
  if (!load_state(cpu, d.base(), wide, t)) return false;
  if (nested && !mem_probe_write(cpu, d.base(), 2, implicit_kind)) return false;
  if (!mem_probe_write(cpu, d.linear + 5, 1, implicit_kind)) return false;
  if (clear_busy && !mem_probe_write(cpu, old_descriptor + 5, 1, implicit_kind)) return false;

  // The old task is left.
  if (clear_busy && !mem_change_byte(cpu, old_descriptor + 5, 0, 0xfd, implicit_kind)) return false;
  if (!mem_write(cpu, save_at, area.bytes, area.size, implicit_kind)) return false;
  if (nested && !mem_put(cpu, d.base(), s.tr.selector, implicit_kind)) return false;
  if (!back && !mem_change_byte(cpu, d.linear + 5, 2, 0xff, implicit_kind)) return false;

  // The commit point: from here on everything belongs to the new task.
  if (nested) t.eflags |= flag_nt;
  d.low |= 2ull << 40;
  set_segment(s.tr, tss_selector, d);
  s.cr0 |= cr0_ts;
  if (wide && (s.cr0 & cr0_pg)) load_cr3(cpu, t.cr3, false);
  s.rip = t.eip;
  s.rflags = (t.eflags & 0x3f7fd5) | 2;
  for (unsigned i = 0; i < 8; i++) s.gpr[i] = t.gpr[i];
  s.dr7 &= ~0x155ull;  // local breakpoints are the old task's
  const bool loaded = load_segments(cpu, t, ext);
  mode_changed(cpu);
  if (!loaded) return false;
  if (push_code) {
    Stack st = Stack::current(cpu);
    st.error_code = ext;
    const u64 value = code;
    if (!stack_push(cpu, st, &value, 1, wide ? 4 : 2)) return false;
    stack_commit(cpu, st);
  }
  if (s.rip > s.seg[x86::CS].limit) return raise(cpu, vec_gp, ext);
  if (t.trap) return raise_debug(cpu, 1u << 15);
  return true;
}

bool task_return(SoftCpu& cpu, u64 next_rip) {
  u16 link = 0;
  if (!mem_get(cpu, cpu.s.tr.base & 0xffffffff, link, implicit_kind)) return false;
  return task_switch(cpu, link, TaskReason::iret, next_rip);
}

}  // namespace nagaya::engine::soft
