// Segmentation: linear addresses, loads of data and stack segments. Intel SDM vol. 3, 3.4, 5.3 to 5.7; vol. 2 MOV.
#include "engine/soft/light/arch.hpp"
#include "engine/soft/light/descriptor.hpp"
#include "engine/soft/light/mode.hpp"

namespace nagaya::engine::soft {
namespace {

bool beyond_limit(const x86::Segment& seg, u64 offset, u64 last, bool data) {
  if (data && (seg.type() & 0xc) == 4) {  // expand-down: what a normal segment would allow is forbidden
    const u64 top = seg.db() ? 0xffffffff : 0xffff;
    return offset <= seg.limit || last > top;
  }
  // At a limit of 4 GiB the wrap is left to the address arithmetic, as implementations may.
  return last > seg.limit && seg.limit != 0xffffffff;
}

}  // namespace

bool linear_address(SoftCpu& cpu, u8 seg, u64 offset, unsigned size, Access access, u64& linear) {
  const x86::Segment& segment = cpu.s.seg[seg];
  const u8 vector = seg == x86::SS ? vec_ss : vec_gp;
  const u64 extra = size ? size - 1 : 0;
  if (code64(cpu)) {
    linear = seg >= x86::FS ? segment.base + offset : offset;
    if (!canonical(linear) || !canonical(linear + extra)) return raise(cpu, vector, 0);
    return true;
  }
  offset &= 0xffffffff;
  if (!paragraph_mode(cpu)) {
    if (segment.unusable) return raise(cpu, vector, 0);
    const bool code = segment.type() & 8;
    if (access == Access::write ? code || !(segment.type() & 2)
                                : access == Access::read && code && !(segment.type() & 2))
      return raise(cpu, vector, 0);
    if (beyond_limit(segment, offset, offset + extra, !code)) return raise(cpu, vector, 0);
  } else if (offset + extra > segment.limit && segment.limit != 0xffffffff) {
    return raise(cpu, vector, 0);
  }
  linear = (segment.base + offset) & 0xffffffff;
  return true;
}

void set_segment(x86::Segment& seg, u16 selector, const Descriptor& d) {
  seg.selector = selector;
  seg.base = d.base();
  seg.limit = d.limit();
  seg.attr = d.attr();
  seg.unusable = false;
}

void set_null(x86::Segment& seg, u16 selector, unsigned dpl) {
  seg.selector = selector;
  seg.base = 0;
  seg.limit = 0;
  seg.attr = static_cast<u16>(dpl << 5);
  seg.unusable = true;
}

void set_paragraph(SoftCpu& cpu, u8 seg, u16 selector) {
  x86::Segment& segment = cpu.s.seg[seg];
  segment.selector = selector;
  segment.base = u64{selector} << 4;
  segment.unusable = false;
  if (v86_mode(cpu)) {
    segment.limit = 0xffff;
    segment.attr = 0xf3;
  } else {
    // Real mode keeps limit and size ("unreal" mode lives from it).
    segment.attr = static_cast<u16>((segment.attr & 0xd000) | 0x93);
  }
}

bool load_segment(SoftCpu& cpu, u8 seg, u16 selector) {
  x86::Segment& target = cpu.s.seg[seg];
  if (paragraph_mode(cpu)) {
    set_paragraph(cpu, seg, selector);
    mode_changed(cpu);
    return true;
  }
  const unsigned current = cpl(cpu), rpl = selector & 3;
  const u32 code = selector & ~3u;
  if (null_selector(selector)) {
    if (seg == x86::SS) {
      if (!code64(cpu) || current == 3 || rpl != current) return raise(cpu, vec_gp, 0);
    }
    set_null(target, selector, seg == x86::SS ? current : 0);
    mode_changed(cpu);
    return true;
  }
  Descriptor d;
  if (!fetch_descriptor(cpu, selector, d)) return false;
  if (seg == x86::SS) {
    if (rpl != current || !d.writable_data() || d.dpl() != current) return raise(cpu, vec_gp, code);
    if (!d.present()) return raise(cpu, vec_ss, code);
  } else {
    if (!d.readable()) return raise(cpu, vec_gp, code);
    if (!(d.code() && d.conforming()) && (rpl > d.dpl() || current > d.dpl())) return raise(cpu, vec_gp, code);
    if (!d.present()) return raise(cpu, vec_np, code);
  }
  if (!mark_accessed(cpu, d)) return false;
  set_segment(target, selector, d);
  mode_changed(cpu);
  return true;
}

void mode_changed(SoftCpu& cpu) {
  const bool flat = code64(cpu);
  forget_fast_modes(cpu);
  for (unsigned i = 0; i < 6; i++) cpu.lin_seg_base[i] = flat && i < x86::FS ? 0 : cpu.s.seg[i].base;
}

void drop_inner_segments(SoftCpu& cpu, unsigned new_cpl) {
  for (u8 i : {x86::ES, x86::DS, x86::FS, x86::GS}) {
    x86::Segment& seg = cpu.s.seg[i];
    const bool conforming = (seg.type() & 0xc) == 0xc;
    if (seg.unusable || conforming || seg.dpl() >= new_cpl) continue;
    const u64 base = seg.base;  // stays: in 64-bit mode FS and GS are usable with any selector
    set_null(seg, 0);
    seg.base = base;
  }
}

}  // namespace nagaya::engine::soft
