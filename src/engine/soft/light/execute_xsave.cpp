// The XSAVE family on vector state that is live in registers: the host's own instruction works on a copy of the guest's area, so
// that layout, in-use tracking and MXCSR rules are the processor's. Whatever would fault, and what the copy cannot judge,
// declines: execute_heavy() knows it all. Source: Intel SDM vol. 1, 13.7 to 13.12.
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/memory.hpp"
#include "engine/soft/light/operand.hpp"

namespace nagaya::engine::soft::exec {
namespace {

constexpr u64 compacted = u64{1} << 63;
constexpr unsigned header_at = 512, legacy_end = 576;

bool decline(SoftCpu& cpu) {
  cpu.need_heavy = true;
  return false;
}

/// Bytes of an area that holds `components`.
unsigned area_size(const XsaveSizes& sizes, u64 components, bool compact) {
  unsigned end = legacy_end;
  for (unsigned i = 2; i < 8; ++i) {
    if (!(components >> i & 1)) continue;
    unsigned at = sizes.offset[i];
    if (compact) at = sizes.align64[i] ? (end + 63) & ~63u : end;
    if (at + sizes.size[i] > end) end = at + sizes.size[i];
  }
  return end;
}

/// 64-bit code with nothing in the way, and an aligned area.
bool usable(SoftCpu& cpu, const Insn& insn, bool supervisor, u64& linear) {
#ifdef NAGAYA_SANITIZED
  return false;  // vector state is in memory around light code then
#endif
  if (cpu.heavy || !cpu.xsave_sizes.known || !code64(cpu) || !insn.has_mem || !(cpu.s.cr4 & cr4_osxsave)) return false;
  if ((cpu.s.cr0 & cr0_ts) || (cpu.s.dr7 & 0xff) || (cpu.s.xcr0 >> 8) || cpu.s.msr.xss) return false;
  if (supervisor && cpl(cpu) != 0) return false;
  linear = effective_address(cpu, insn);
  if (insn.seg >= FS) linear += cpu.s.seg[insn.seg].base;
  return (linear & 63) == 0 && canonical(linear) && canonical(linear + 4095);
}

u64 requested(const SoftCpu& cpu) {
  return (cpu.s.gpr[RDX] << 32 | (cpu.s.gpr[RAX] & 0xffffffff)) & cpu.s.xcr0;
}

/// Instruction and data pointers of x87 are those of our code: nobody's business.
void hide_pointers(u8* area) {
  for (unsigned i = 6; i < 24; i += 2) asm volatile("movw $0, %0" : "=m"(*reinterpret_cast<u16*>(area + i)));
}

u64 word(const u8* area, unsigned at) {
  u64 value;
  __builtin_memcpy(&value, area + at, 8);
  return value;
}

}  // namespace

bool xsave_live(SoftCpu& cpu, const Insn& insn, bool compact, bool supervisor) {
  u64 linear;
  if (!usable(cpu, insn, supervisor, linear)) return decline(cpu);
  const u64 components = requested(cpu);
  const unsigned size = area_size(cpu.xsave_sizes, components, compact);
  const TlbKind kind = current_kind(cpu);
  if (!mem_probe_write(cpu, linear, size, kind)) return false;
  // What the instruction leaves alone is written back as it was.
  if (!mem_read(cpu, linear, cpu.bounce, size, kind)) return false;
  if (compact) {
    asm volatile("xsavec64 %0" : "+m"(cpu.bounce) : "a"(static_cast<u32>(components)), "d"(0) : "memory");
  } else {
    asm volatile("xsave64 %0" : "+m"(cpu.bounce) : "a"(static_cast<u32>(components)), "d"(0) : "memory");
  }
  if (components & (compact ? word(cpu.bounce, header_at) : components) & 1) hide_pointers(cpu.bounce);
  return mem_write(cpu, linear, cpu.bounce, size, kind);
}

bool xrstor_live(SoftCpu& cpu, const Insn& insn, bool supervisor) {
  u64 linear;
  if (!usable(cpu, insn, supervisor, linear)) return decline(cpu);
  const TlbKind kind = current_kind(cpu);
  if (!mem_read(cpu, linear, cpu.bounce, legacy_end, kind)) return false;
  const u64 components = requested(cpu), used = word(cpu.bounce, header_at), layout = word(cpu.bounce, header_at + 8);
  const bool compact = layout & compacted;
  bool valid = compact ? !(layout & ~compacted & ~cpu.s.xcr0) && !(used & ~layout) : !supervisor && !layout && !(used & ~cpu.s.xcr0);
  for (unsigned i = 2; i < 8; ++i) valid = valid && word(cpu.bounce, header_at + 8 * i) == 0;
  u32 mxcsr;
  __builtin_memcpy(&mxcsr, cpu.bounce + 24, 4);
  if (!valid || (mxcsr & 0xffff0000)) return decline(cpu);
  const unsigned size = area_size(cpu.xsave_sizes, compact ? layout & ~compacted : used & components, compact);
  const u64 cr2 = cpu.s.cr2;
  // The legacy part and the header stay as they were judged.
  if (size > legacy_end && !mem_read(cpu, linear + legacy_end, cpu.bounce + legacy_end, size - legacy_end, kind)) {
    // Only components that are not in use may be out of reach.
    cpu.fault = {};
    cpu.s.cr2 = cr2;
    return decline(cpu);
  }
  hide_pointers(cpu.bounce);
  asm volatile("xrstor64 %0" : : "m"(cpu.bounce), "a"(static_cast<u32>(components)), "d"(0) : "memory");
  return true;
}

}  // namespace nagaya::engine::soft::exec
