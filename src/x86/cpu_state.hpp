// The architectural state of one logical processor, as plain data. Both engines read and write it whole; it is what a
// saved machine holds. Source: Intel SDM vol. 1 ch. 3, vol. 3 ch. 2, 3, 10; AMD APM vol. 2.
#pragma once
#include <array>

#include "base/types.hpp"

namespace nagaya::x86 {

/// Index of general registers in CpuState::gpr, in the order of their encoding.
enum Gpr : u8 { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };
/// Index of segment registers in CpuState::seg, in the order of their encoding.
enum Seg : u8 { ES, CS, SS, DS, FS, GS };

/// A segment register with its hidden part. `limit` is in bytes (granularity applied).
/// `attr` has the layout of descriptor bits 40..55: type(3:0) S(4) DPL(6:5) P(7) .. AVL(12) L(13) D/B(14) G(15).
/// `unusable` is set after a null selector was loaded.
struct Segment {
  u64 base = 0;
  u32 limit = 0xffff;
  u16 selector = 0;
  u16 attr = 0;
  bool unusable = false;

  [[nodiscard]] u8 type() const { return attr & 0xf; }
  [[nodiscard]] bool s() const { return attr >> 4 & 1; }
  [[nodiscard]] u8 dpl() const { return attr >> 5 & 3; }
  [[nodiscard]] bool present() const { return attr >> 7 & 1; }
  [[nodiscard]] bool l() const { return attr >> 13 & 1; }
  [[nodiscard]] bool db() const { return attr >> 14 & 1; }
  [[nodiscard]] bool g() const { return attr >> 15 & 1; }
  bool operator==(const Segment&) const = default;
};

struct TableRegister {
  u64 base = 0;
  u16 limit = 0xffff;
  bool operator==(const TableRegister&) const = default;
};

/// Model-specific registers that hold state. TSC is kept as an offset from the host's (guest = host + tsc_offset) while
/// running and as an absolute value (`tsc`) in a saved state; engines convert when state is read or written.
struct Msrs {
  u64 efer = 0;
  u64 star = 0, lstar = 0, cstar = 0, sfmask = 0;
  u64 kernel_gs_base = 0;
  u64 sysenter_cs = 0, sysenter_esp = 0, sysenter_eip = 0;
  u64 tsc = 0, tsc_aux = 0, tsc_adjust = 0;
  u64 pat = 0x0007040600070406;
  u64 misc_enable = 1;
  u64 mtrr_def_type = 0;
  std::array<u64, 11> mtrr_fixed{};
  std::array<u64, 16> mtrr_var{};  // base0, mask0, base1, mask1 …
  u64 debugctl = 0;
  u64 spec_ctrl = 0;
  u64 xss = 0;
  // KVM paravirtual MSRs (Linux Documentation/virt/kvm/x86/msr.rst).
  u64 kvm_wall_clock = 0, kvm_system_time = 0, kvm_async_pf_en = 0, kvm_async_pf_int = 0, kvm_steal_time = 0,
      kvm_pv_eoi = 0, kvm_poll_control = 1;
  bool operator==(const Msrs&) const = default;
};

/// Whether the processor executes, waits, or has not been started.
enum class RunState : u8 {
  running,
  halted,         ///< HLT: until an interrupt
  wait_for_sipi,  ///< after INIT
  shutdown,       ///< triple fault
};

/// Size of the largest XSAVE image kept: legacy 512, header 64, AVX, AVX-512 (opmask, ZMM_Hi256, Hi16_ZMM) in the
/// standard (non-compacted) format. Intel SDM vol. 1, 13.4.
inline constexpr std::size_t xsave_size = 2696;

/// Events that wait at an instruction boundary.
struct PendingEvents {
  bool exception_pending = false;  ///< `vector`/`error_code` are to be delivered before the next instruction
  u8 vector = 0;
  bool has_error_code = false;
  u32 error_code = 0;
  bool interrupt_shadow = false;  ///< after STI
  bool mov_ss_shadow = false;     ///< after MOV SS / POP SS
  bool nmi_pending = false;
  bool nmi_blocked = false;
  bool operator==(const PendingEvents&) const = default;
};

struct CpuState {
  std::array<u64, 16> gpr{};
  u64 rip = 0xfff0;
  u64 rflags = 2;
  std::array<Segment, 6> seg{};
  Segment ldtr{}, tr{};
  TableRegister gdtr{}, idtr{};
  u64 cr0 = 0x60000010, cr2 = 0, cr3 = 0, cr4 = 0, cr8 = 0;
  u64 xcr0 = 1;
  std::array<u64, 4> dr{};  // DR0..DR3
  u64 dr6 = 0xffff0ff0, dr7 = 0x400;
  Msrs msr{};
  u64 apic_base = 0xfee00900;
  RunState run_state = RunState::running;
  PendingEvents events{};
  alignas(64) std::array<u8, 2752> xsave{};  // standard-format XSAVE image (xsave_size bytes used)
};

/// State after power-on/RESET (`bsp`: boot processor bit in APIC base). Intel SDM vol. 3, table 10-1.
CpuState reset_state(bool bsp);
/// Applies INIT to a running state (keeps FPU, XCR0, most MSRs as the SDM says). Leaves it in wait_for_sipi, the boot
/// processor (by its APIC base) running at the reset vector.
void apply_init(CpuState& state);
/// Start at vector<<12 after a start-up IPI.
void apply_sipi(CpuState& state, u8 vector);

}  // namespace nagaya::x86
