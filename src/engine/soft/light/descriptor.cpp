// Descriptor tables and the instructions that look at descriptors. Intel SDM vol. 3, 3.5, 5.10; vol. 2 LAR, LSL, VERR,
// LLDT, LTR.
#include "engine/soft/light/descriptor.hpp"

namespace nagaya::engine::soft {

bool selector_in_table(const SoftCpu& cpu, u16 selector, bool wide, u64& linear) {
  u64 base = cpu.s.gdtr.base;
  u32 limit = cpu.s.gdtr.limit;
  if (selector & 4) {
    if (cpu.s.ldtr.unusable || (cpu.s.ldtr.selector & 0xfffc) == 0) return false;
    base = cpu.s.ldtr.base;
    limit = cpu.s.ldtr.limit;
  }
  const u32 offset = selector & 0xfff8;
  if (u64{offset} + (wide ? 15 : 7) > limit) return false;
  linear = long_mode(cpu) ? base + offset : (base + offset) & 0xffffffff;
  return true;
}

bool fetch_descriptor(SoftCpu& cpu, u16 selector, Descriptor& out, u8 vector, unsigned ext, bool wide) {
  if (!selector_in_table(cpu, selector, false, out.linear)) return raise(cpu, vector, (selector & ~3u) | ext);
  out.high = 0;
  if (!mem_get(cpu, out.linear, out.low, implicit_kind)) return false;
  // Only a system descriptor has a second half.
  if (wide && !out.s()) {
    if (!selector_in_table(cpu, selector, true, out.linear)) return raise(cpu, vector, (selector & ~3u) | ext);
    if (!mem_get(cpu, out.linear + 8, out.high, implicit_kind)) return false;
  }
  return true;
}

bool mark_accessed(SoftCpu& cpu, Descriptor& d) {
  if (d.low >> 40 & 1) return true;
  if (!mem_change_byte(cpu, d.linear + 5, 1, 0xff, implicit_kind)) return false;
  d.low |= 1ull << 40;
  return true;
}

bool load_ldtr(SoftCpu& cpu, u16 selector) {
  if (null_selector(selector)) {
    set_null(cpu.s.ldtr, selector);
    return true;
  }
  const u32 code = selector & ~3u;
  if (selector & 4) return raise(cpu, vec_gp, code);
  Descriptor d;
  if (!fetch_descriptor(cpu, selector, d, vec_gp, 0, long_mode(cpu))) return false;
  if (d.s() || d.type() != 2) return raise(cpu, vec_gp, code);
  if (!d.present()) return raise(cpu, vec_np, code);
  u64 base = d.base();
  if (long_mode(cpu)) {
    base |= d.high << 32;
    if (!canonical(base) || (d.high >> 40 & 0x1f)) return raise(cpu, vec_gp, code);
  }
  set_segment(cpu.s.ldtr, selector, d);
  cpu.s.ldtr.base = base;
  return true;
}

bool load_tr(SoftCpu& cpu, u16 selector) {
  if (null_selector(selector)) return raise(cpu, vec_gp, 0);
  const u32 code = selector & ~3u;
  if (selector & 4) return raise(cpu, vec_gp, code);
  Descriptor d;
  if (!fetch_descriptor(cpu, selector, d, vec_gp, 0, long_mode(cpu))) return false;
  const bool available = d.type() == 9 || (d.type() == 1 && !long_mode(cpu));
  if (d.s() || !available) return raise(cpu, vec_gp, code);
  if (!d.present()) return raise(cpu, vec_np, code);
  u64 base = d.base();
  if (long_mode(cpu)) {
    base |= d.high << 32;
    if (!canonical(base) || (d.high >> 40 & 0x1f)) return raise(cpu, vec_gp, code);
  }
  if (!mem_change_byte(cpu, d.linear + 5, 2, 0xff, implicit_kind)) return false;
  d.low |= 2ull << 40;
  set_segment(cpu.s.tr, selector, d);
  cpu.s.tr.base = base;
  return true;
}

namespace {

// The common half of LAR, LSL, VERR and VERW: `ok` says that the descriptor exists and is visible at CPL and RPL.
bool look(SoftCpu& cpu, u16 selector, Descriptor& d, bool& ok) {
  ok = false;
  if (null_selector(selector) || !selector_in_table(cpu, selector, false, d.linear)) return true;
  if (!mem_get(cpu, d.linear, d.low, implicit_kind)) return false;
  const unsigned rpl = selector & 3;
  ok = (d.code() && d.conforming()) || (cpl(cpu) <= d.dpl() && rpl <= d.dpl());
  // A 16-byte descriptor must be whole within its table, with a zero type in its second half.
  const bool wide = long_mode(cpu) && !d.s() && (d.type() == 2 || d.type() == 9 || d.type() == 11 || d.type() == 12);
  if (ok && wide) {
    u64 again = 0;
    if (!selector_in_table(cpu, selector, true, again)) {
      ok = false;
      return true;
    }
    if (!mem_get(cpu, d.linear + 8, d.high, implicit_kind)) return false;
    if (d.high >> 40 & 0x1f) ok = false;
  }
  return true;
}

constexpr u32 types(std::initializer_list<unsigned> list) {
  u32 mask = 0;
  for (const unsigned type : list) mask |= 1u << type;
  return mask;
}

}  // namespace

bool lar(SoftCpu& cpu, u16 selector, bool& ok, u32& rights) {
  Descriptor d;
  if (!look(cpu, selector, d, ok)) return false;
  if (ok && !d.s()) {
    const u32 valid = long_mode(cpu) ? types({2, 9, 11, 12}) : types({1, 2, 3, 4, 5, 9, 11, 12});
    ok = valid >> d.type() & 1;
  }
  rights = static_cast<u32>(d.low >> 32) & 0x00ffff00;
  return true;
}

bool lsl(SoftCpu& cpu, u16 selector, bool& ok, u32& limit) {
  Descriptor d;
  if (!look(cpu, selector, d, ok)) return false;
  if (ok && !d.s()) {
    const u32 valid = long_mode(cpu) ? types({2, 9, 11}) : types({1, 2, 3, 9, 11});
    ok = valid >> d.type() & 1;
  }
  limit = d.limit();
  return true;
}

bool verify(SoftCpu& cpu, u16 selector, bool write, bool& ok) {
  Descriptor d;
  if (!look(cpu, selector, d, ok)) return false;
  ok = ok && d.s() && (write ? d.writable_data() : d.readable());
  return true;
}

}  // namespace nagaya::engine::soft
