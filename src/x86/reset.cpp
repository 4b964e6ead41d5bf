#include <cstring>

#include "x86/cpu_state.hpp"

namespace nagaya::x86 {
namespace {

constexpr u64 apic_base_default = 0xfee0'0000, apic_base_enable = 1u << 11, apic_base_bsp = 1u << 8;
constexpr u16 attr_present = 0x80, attr_nonsystem = 0x10;
constexpr u16 attr_data = attr_present | attr_nonsystem | 3;   // read, write, accessed
constexpr u16 attr_code = attr_present | attr_nonsystem | 11;  // execute, read, accessed
constexpr u16 attr_ldt = attr_present | 2;
constexpr u16 attr_tss = attr_present | 11;  // 32-bit, busy
/// DX after RESET names the processor; a P6-family part unless the machine knows better.
constexpr u64 rdx_after_reset = 0x600;

void put16(CpuState& state, std::size_t offset, u16 value) { std::memcpy(&state.xsave[offset], &value, 2); }
void put32(CpuState& state, std::size_t offset, u32 value) { std::memcpy(&state.xsave[offset], &value, 4); }
void put64(CpuState& state, std::size_t offset, u64 value) { std::memcpy(&state.xsave[offset], &value, 8); }

/// What RESET and INIT have in common: SDM vol. 3, table 10-1, all rows equal in both columns.
void common(CpuState& state) {
  state.gpr.fill(0);
  state.gpr[RDX] = rdx_after_reset;
  state.rip = 0xfff0;
  state.rflags = 2;
  for (Segment& segment : state.seg) segment = {0, 0xffff, 0, attr_data, false};
  state.seg[CS] = {0xffff'0000, 0xffff, 0xf000, attr_code, false};
  state.ldtr = {0, 0xffff, 0, attr_ldt, false};
  state.tr = {0, 0xffff, 0, attr_tss, false};
  state.gdtr = {};
  state.idtr = {};
  state.cr2 = state.cr3 = state.cr4 = state.cr8 = 0;
  state.dr.fill(0);
  state.dr6 = 0xffff'0ff0;
  state.dr7 = 0x400;
  state.msr.efer = 0;
  state.events = {};
}

}  // namespace

CpuState reset_state(bool bsp) {
  CpuState state;
  common(state);
  state.cr0 = 0x6000'0010;
  state.xcr0 = 1;
  // FCW 0040h, FTW 5555h (all registers hold zeros: abridged tag FFh), MXCSR 1F80h: not the state after FNINIT, so the
  // x87 and SSE components are marked as in use.
  put16(state, 0, 0x0040);
  state.xsave[4] = 0xff;
  put32(state, 24, 0x1f80);
  put64(state, 512, 3);
  state.apic_base = apic_base_default | apic_base_enable | (bsp ? apic_base_bsp : 0);
  state.run_state = bsp ? RunState::running : RunState::wait_for_sipi;
  return state;
}

void apply_init(CpuState& state) {
  const u64 cache_bits = state.cr0 & 0x6000'0000;  // CD and NW keep their values
  common(state);
  state.cr0 = cache_bits | 0x10;
  // What the hypervisor writes to guest memory must stop before the guest reuses it; Linux's KVM does the same on INIT.
  state.msr.kvm_system_time = state.msr.kvm_steal_time = state.msr.kvm_async_pf_en = state.msr.kvm_async_pf_int =
      state.msr.kvm_pv_eoi = 0;
  // SDM vol. 3, 9.4.2: the boot processor starts at the reset vector again, others wait for their start-up message.
  state.run_state = (state.apic_base & apic_base_bsp) != 0 ? RunState::running : RunState::wait_for_sipi;
}

void apply_sipi(CpuState& state, u8 vector) {
  state.seg[CS] = {static_cast<u64>(vector) << 12, 0xffff, static_cast<u16>(vector << 8), attr_code, false};
  state.rip = 0;
  state.run_state = RunState::running;
}

}  // namespace nagaya::x86
