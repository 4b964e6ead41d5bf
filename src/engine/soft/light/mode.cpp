#include "engine/soft/light/mode.hpp"

#include "engine/soft/system.hpp"

namespace nagaya::engine::soft {
namespace {

constexpr u64 cr0_pe = 1, cr0_mp = 2, cr0_em = 4, cr0_ts = 8;
constexpr u64 cr4_tsd = 4, cr4_osfxsr = 1 << 9, cr4_fsgsbase = 1 << 16, cr4_osxsave = 1 << 18;
constexpr u64 efer_lma = 1 << 10;
constexpr u64 rflags_vm = 1 << 17;

SegClass segment_class(const SoftCpu& cpu, const x86::Segment& seg, bool code) {
  if (!(cpu.s.cr0 & cr0_pe) || (cpu.s.rflags & rflags_vm)) return SegClass::checked;
  if (seg.unusable || seg.limit != 0xffffffff || !seg.s() || !seg.present()) return SegClass::checked;
  const unsigned type = seg.type();
  // Expand-up writable data; for CS, readable code (reads through CS overrides; writes always go the checked way).
  if (code ? (type & 0xa) != 0xa : (type & 8) || !(type & 2) || (type & 4)) return SegClass::checked;
  return seg.base == 0 ? SegClass::flat : SegClass::based;
}

}  // namespace

void forget_fast_modes(SoftCpu& cpu) {
  for (u32& index : cpu.sys.fast_mode) index = ~0u;
}

u32 compute_mode_key(const SoftCpu& cpu) {
  const auto& s = cpu.s;
  u32 key = 0;
  const x86::Segment& cs = s.seg[x86::CS];
  const bool long64 = (s.msr.efer & efer_lma) && cs.l();
  if (long64) {
    key |= 2u << mode_bits::code_shift | mode_bits::stack32 | mode_bits::cs_flat;
    key |= static_cast<u32>(SegClass::based) << (mode_bits::seg_shift + 8) | static_cast<u32>(SegClass::based) << (mode_bits::seg_shift + 10);
  } else {
    const bool protected_mode = (s.cr0 & cr0_pe) && !(s.rflags & rflags_vm);
    if (protected_mode ? cs.db() : cs.db() && !(s.rflags & rflags_vm)) key |= 1u << mode_bits::code_shift;
    if (s.seg[x86::SS].db() && !(s.rflags & rflags_vm)) key |= mode_bits::stack32;
    if (cs.base == 0 && cs.limit == 0xffffffff) key |= mode_bits::cs_flat;
    for (unsigned i = 0; i < 6; ++i)
      key |= static_cast<u32>(segment_class(cpu, s.seg[i], i == x86::CS)) << (mode_bits::seg_shift + 2 * i);
  }
  key |= static_cast<u32>(current_kind(cpu)) << mode_bits::kind_shift;
  const unsigned ring = cpl(cpu);
  if (ring == 1 || ring == 2) key |= mode_bits::inner_ring;
  if (!(s.cr4 & cr4_tsd) || ring == 0 || !(s.cr0 & cr0_pe)) key |= mode_bits::tsc;
  if (cpu.features & feat_rdtscp) key |= mode_bits::rdtscp;
  if (long64 && (s.cr4 & cr4_fsgsbase)) key |= mode_bits::fsgsbase;
  if (s.cr0 & cr0_em) key |= mode_bits::cr0_em;
  if (s.cr0 & cr0_ts) key |= mode_bits::cr0_ts;
  if (s.cr0 & cr0_mp) key |= mode_bits::cr0_mp;
  if (s.cr4 & cr4_osfxsr) key |= mode_bits::sse;
  if (s.cr4 & cr4_osxsave) {
    if ((s.xcr0 & 6) == 6) key |= mode_bits::avx;
    if ((s.xcr0 & 0xe6) == 0xe6) key |= mode_bits::avx512;
  }
  return key;
}

}  // namespace nagaya::engine::soft
