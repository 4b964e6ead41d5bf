// FXSAVE, FXRSTOR and the XSAVE family between guest memory and s.xsave. Source: Intel SDM vol. 1, 10.5 and 13.7 to 13.12.
#include "engine/soft/execute_heavy.hpp"
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/operand.hpp"
#include "engine/soft/xstate.hpp"

namespace nagaya::engine::soft::exec {
namespace {

constexpr u64 bit(unsigned component) { return u64{1} << component; }
constexpr u64 compacted = u64{1} << 63;

/// Bytes of a component that the current mode saves: outside 64-bit mode only registers 0..7 exist.
unsigned visible_size(const SoftCpu& cpu, unsigned component) {
  const unsigned size = xlayout().size[component];
  if (code64(cpu)) return size;
  switch (component) {
    case x_sse: case x_avx: case x_zmm_hi: return size / 2;
    case x_hi16_zmm: return 0;
    default: return size;
  }
}

/// Offset of each component in an area in compacted format, and the size of it all.
unsigned compact_offsets(u64 components, std::array<u32, x_components>& offset) {
  u32 at = xlegacy_end;
  for (unsigned i = 2; i < x_components; ++i) {
    if (!(components & bit(i))) continue;
    if (xlayout().align64[i]) at = (at + 63) & ~63u;
    offset[i] = at;
    at += xlayout().size[i];
  }
  return at;
}

unsigned standard_end(u64 components) {
  u32 end = xlegacy_end;
  for (unsigned i = 2; i < x_components; ++i) {
    if ((components & bit(i)) && xlayout().offset[i] + xlayout().size[i] > end) end = xlayout().offset[i] + xlayout().size[i];
  }
  return end;
}

/// The area's linear address; `size` bytes of it are inside the segment. `alignment` in bytes: else #GP(0).
bool area(SoftCpu& cpu, const Insn& insn, unsigned size, unsigned alignment, Access access, u64& linear) {
  if (!linear_address(cpu, insn.seg, effective_address(cpu, insn), size, access, linear)) return false;
  return (linear & (alignment - 1)) == 0 || raise(cpu, vec_gp, 0);
}

bool fpu_available(SoftCpu& cpu) { return !(cpu.s.cr0 & (cr0_em | cr0_ts)) || raise(cpu, vec_nm); }

bool xsave_available(SoftCpu& cpu, const Insn& insn, bool supervisor) {
  if (!(cpu.s.cr4 & cr4_osxsave) || !insn.has_mem) return raise(cpu, vec_ud);
  if (supervisor && !require_cpl0(cpu)) return false;
  return !(cpu.s.cr0 & cr0_ts) || raise(cpu, vec_nm);
}

u64 requested(const SoftCpu& cpu, bool supervisor) {
  const u64 mask = cpu.s.gpr[RDX] << 32 | (cpu.s.gpr[RAX] & 0xffffffff);
  return mask & (supervisor ? cpu.s.xcr0 | cpu.s.msr.xss : cpu.s.xcr0);
}

/// With EFER.FFXSR the kernel's FXSAVE and FXRSTOR leave out the XMM registers (AMD APM vol. 2, 11.4.4).
bool fast_fxsave(const SoftCpu& cpu) { return (cpu.s.msr.efer & efer_ffxsr) && code64(cpu) && cpl(cpu) == 0; }

}  // namespace

bool fxsave(SoftCpu& cpu, const Insn& insn) {
  if (!insn.has_mem) return raise(cpu, vec_ud);
  u64 linear;
  if (!fpu_available(cpu) || !area(cpu, insn, 512, 16, Access::write, linear)) return false;
  const TlbKind kind = current_kind(cpu);
  if (!mem_probe_write(cpu, linear, 512, kind)) return false;
  XState state(cpu);
  if (!mem_write(cpu, linear, state.bytes(), 160, kind)) return false;
  if (!(cpu.s.cr4 & cr4_osfxsr) || fast_fxsave(cpu)) return true;
  return mem_write(cpu, linear + 160, state.bytes() + 160, visible_size(cpu, x_sse), kind);
}

bool fxrstor(SoftCpu& cpu, const Insn& insn) {
  if (!insn.has_mem) return raise(cpu, vec_ud);
  u64 linear;
  if (!fpu_available(cpu) || !area(cpu, insn, 512, 16, Access::read, linear)) return false;
  std::array<u8, 512> from;
  if (!mem_read(cpu, linear, from.data(), 512, current_kind(cpu))) return false;
  u32 mxcsr;
  std::memcpy(&mxcsr, from.data() + 24, sizeof mxcsr);
  const bool sse = cpu.s.cr4 & cr4_osfxsr;
  if (sse && (mxcsr & ~xlayout().mxcsr_mask)) return raise(cpu, vec_gp, 0);
  XState state(cpu);
  std::memcpy(state.bytes(), from.data(), 6);
  std::memcpy(state.bytes() + 32, from.data() + 32, 128);
  state.use(x_x87);
  if (!sse) return true;
  state.set_mxcsr(mxcsr);
  state.use(x_sse);
  if (!fast_fxsave(cpu)) std::memcpy(state.bytes() + 160, from.data() + 160, visible_size(cpu, x_sse));
  return true;
}

bool xsave(SoftCpu& cpu, const Insn& insn, XsaveForm form) {
  const bool supervisor = form == XsaveForm::xsaves, compact = supervisor || form == XsaveForm::xsavec;
  if (!xsave_available(cpu, insn, supervisor)) return false;
  const u64 components = requested(cpu, supervisor);
  std::array<u32, x_components> offset = xlayout().offset;
  const unsigned size = compact ? compact_offsets(components, offset) : standard_end(components);
  u64 linear;
  if (!area(cpu, insn, size, 64, Access::write, linear)) return false;
  const TlbKind kind = current_kind(cpu);
  if (!mem_probe_write(cpu, linear, size, kind)) return false;

  XState state(cpu);
  u64 in_use = state.in_use() & components;
  // MXCSR is saved with SSE in the compacted forms; there a value other than the initial one makes SSE count as in use.
  if (compact && (components & bit(x_sse)) && state.mxcsr() != mxcsr_init) in_use |= bit(x_sse);
  const u64 written = form == XsaveForm::xsave ? components : in_use;

  const auto put = [&](unsigned at, const u8* data, unsigned bytes) { return mem_write(cpu, linear + at, data, bytes, kind); };
  u64 header[2] = {in_use, components | compacted};
  if (!compact) {
    u64 old;
    if (!mem_read(cpu, linear + xheader, &old, 8, kind)) return false;
    header[0] |= old & ~components;
  }
  if (written & bit(x_x87)) {
    if (!put(0, state.bytes(), 24) || !put(32, state.bytes() + 32, 128)) return false;
  }
  const bool with_mxcsr = compact ? written & bit(x_sse) : components & (bit(x_sse) | bit(x_avx));
  if (with_mxcsr && !put(24, state.bytes() + 24, 8)) return false;
  for (unsigned i = x_sse; i < x_components; ++i) {
    if (!(written & bit(i))) continue;
    if (!put(offset[i], state.bytes() + xlayout().offset[i], visible_size(cpu, i))) return false;
  }
  return put(xheader, reinterpret_cast<const u8*>(header), compact ? 16 : 8);
}

bool xrstor(SoftCpu& cpu, const Insn& insn, bool supervisor) {
  if (!xsave_available(cpu, insn, supervisor)) return false;
  const u64 components = requested(cpu, supervisor);
  u64 linear;
  if (!area(cpu, insn, xlegacy_end, 64, Access::read, linear)) return false;
  const TlbKind kind = current_kind(cpu);
  u64 header[8];
  if (!mem_read(cpu, linear + xheader, header, sizeof header, kind)) return false;

  const bool compact = header[1] & compacted;
  const u64 legal = supervisor ? cpu.s.xcr0 | cpu.s.msr.xss : cpu.s.xcr0;
  bool valid = true;
  if (compact) {
    valid = cpuid_feature(cpu, 0xd, 1, 0, 1) && !(header[1] & ~compacted & ~legal) && !(header[0] & ~header[1]);
    for (unsigned i = 2; i < 8; ++i) valid = valid && header[i] == 0;
  } else {
    valid = !supervisor && !(header[0] & ~legal) && header[1] == 0 && header[2] == 0;
  }
  if (!valid) return raise(cpu, vec_gp, 0);

  std::array<u32, x_components> offset = xlayout().offset;
  const u64 restored = components & header[0], reset = components & ~header[0];
  const unsigned size = compact ? compact_offsets(header[1] & ~compacted, offset) : standard_end(restored);
  if (size > xlegacy_end && !area(cpu, insn, size, 64, Access::read, linear)) return false;

  // Everything is read and checked before the state changes.
  const u64 mxcsr_with = compact ? bit(x_sse) : bit(x_sse) | bit(x_avx);
  u32 mxcsr = mxcsr_init;
  if (compact ? restored & mxcsr_with : components & mxcsr_with) {
    if (!mem_read(cpu, linear + 24, &mxcsr, 4, kind)) return false;
    if (mxcsr & ~xlayout().mxcsr_mask) return raise(cpu, vec_gp, 0);
  }
  std::array<u8, sizeof(x86::CpuState::xsave)> staged;
  if (restored & bit(x_x87)) {
    if (!mem_read(cpu, linear, staged.data(), 24, kind) || !mem_read(cpu, linear + 32, staged.data() + 32, 128, kind)) return false;
  }
  for (unsigned i = x_sse; i < x_components; ++i) {
    const unsigned bytes = visible_size(cpu, i);
    if (!(restored & bit(i)) || bytes == 0) continue;
    if (!mem_read(cpu, linear + offset[i], staged.data() + xlayout().offset[i], bytes, kind)) return false;
  }

  XState state(cpu);
  if (restored & bit(x_x87)) {
    std::memcpy(state.bytes(), staged.data(), 6);
    std::memcpy(state.bytes() + 32, staged.data() + 32, 128);
    state.use(x_x87);
  } else if (reset & bit(x_x87)) {
    state.init(x_x87);
  }
  for (unsigned i = x_sse; i < x_components; ++i) {
    if (!(components & bit(i))) continue;
    const unsigned bytes = visible_size(cpu, i);
    if (restored & bit(i)) {
      std::memcpy(state.bytes() + xlayout().offset[i], staged.data() + xlayout().offset[i], bytes);
      if (bytes) state.use(i);
    } else if (bytes == xlayout().size[i]) {
      state.init(i);
    } else {
      std::memset(state.bytes() + xlayout().offset[i], 0, bytes);
    }
  }
  if (components & mxcsr_with) state.set_mxcsr(mxcsr);
  return true;
}

}  // namespace nagaya::engine::soft::exec
