// What gathers, scatters and masked moves share: may the unit be used, one element of memory, element numbers of masks.
#pragma once
#include "engine/soft/light/operand.hpp"
#include "engine/soft/xstate.hpp"

namespace nagaya::engine::soft::exec {

/// The checks before a vector instruction: #UD when its state is not enabled, #NM with CR0.TS. Intel SDM vol. 2, 2.4, 2.7.
inline bool vector_available(SoftCpu& cpu, const Insn& insn, bool mmx = false) {
  if (insn.vex || insn.evex) {
    const u64 need = insn.evex ? 0xe6 : 6;
    if (paragraph_mode(cpu) || !(cpu.s.cr4 & cr4_osxsave) || (cpu.s.xcr0 & need) != need) return raise(cpu, vec_ud);
  } else if (cpu.s.cr0 & cr0_em || (!mmx && !(cpu.s.cr4 & cr4_osfxsr))) {
    return raise(cpu, vec_ud);
  }
  return !(cpu.s.cr0 & cr0_ts) || raise(cpu, vec_nm);
}

/// One element at an offset of the operand's segment.
inline bool load_element(SoftCpu& cpu, const Insn& insn, u64 offset, unsigned size, void* out) {
  u64 value;
  if (!load(cpu, insn.seg, offset & size_mask(insn.addrsize), size, value)) return false;
  std::memcpy(out, &value, size);
  return true;
}
inline bool store_element(SoftCpu& cpu, const Insn& insn, u64 offset, unsigned size, const void* data) {
  u64 value = 0;
  std::memcpy(&value, data, size);
  return store(cpu, insn.seg, offset & size_mask(insn.addrsize), size, value);
}

/// Checks that a later store_element cannot fault.
inline bool probe_element(SoftCpu& cpu, const Insn& insn, u64 offset, unsigned size) {
  u64 linear;
  return linear_address(cpu, insn.seg, offset & size_mask(insn.addrsize), size, Access::write, linear) &&
         mem_probe_write(cpu, linear, size, current_kind(cpu));
}

/// The EVEX mask for `count` elements; k0 stands for all ones.
inline u64 evex_mask(const XState& state, const Insn& insn, unsigned count) {
  const u64 all = count >= 64 ? ~u64{0} : (u64{1} << count) - 1;
  return insn.kmask ? state.opmask(insn.kmask) & all : all;
}

}  // namespace nagaya::engine::soft::exec
