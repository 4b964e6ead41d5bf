// Offsets of the local APIC's registers in its page, and bits of their values (Intel SDM vol. 3, table 11-1). The
// x2APIC MSR of a register is 800h + offset / 16.
#pragma once
#include "base/types.hpp"

namespace nagaya::chipset::apic {

inline constexpr u32 reg_id = 0x20, reg_version = 0x30, reg_tpr = 0x80, reg_apr = 0x90, reg_ppr = 0xa0, reg_eoi = 0xb0,
                     reg_rrd = 0xc0, reg_ldr = 0xd0, reg_dfr = 0xe0, reg_svr = 0xf0, reg_isr = 0x100, reg_tmr = 0x180,
                     reg_irr = 0x200, reg_esr = 0x280, reg_icr = 0x300, reg_icr_high = 0x310, reg_lvt = 0x320,
                     reg_initial_count = 0x380, reg_current_count = 0x390, reg_divide = 0x3e0, reg_self_ipi = 0x3f0;

/// Six LVT entries, EOI broadcasts can be suppressed, version 14h.
inline constexpr u32 version = 0x14 | 5 << 16 | 1 << 24;

inline constexpr u32 lvt_masked = 1 << 16, lvt_level = 1 << 15, lvt_remote_irr = 1 << 14, lvt_status = 1 << 12;
inline constexpr u32 svr_enabled = 1 << 8, svr_suppress_eoi = 1 << 12, svr_defined = 0x11ff;
inline constexpr u32 divide_defined = 0xb;

inline constexpr u32 error_send_vector = 1 << 5, error_receive_vector = 1 << 6, error_register = 1 << 7;

inline constexpr u64 base_bsp = 1 << 8, base_x2apic = 1 << 10, base_enabled = 1 << 11;

inline constexpr u32 msr_apic_base = 0x1b, msr_tsc_deadline = 0x6e0, msr_x2apic_first = 0x800, msr_x2apic_last = 0x8ff;

}  // namespace nagaya::chipset::apic
