#include "engine/kvm/msr_table.hpp"

#include <cstring>

namespace nagaya::engine::kvm {
namespace {

using x86::Msrs;
#define FIELD(index, field) {index, #field, offsetof(Msrs, field)}
#define ELEMENT(index, field, n) {index, #field "[" #n "]", offsetof(Msrs, field) + 8 * (n)}

// Intel SDM vol. 4; AMD APM vol. 2 appendix A; Linux Documentation/virt/kvm/x86/msr.rst. The paravirtual interrupt
// vector comes before the enable bit that uses it, TSC before what counts in it.
constexpr MsrEntry table[] = {
    FIELD(0x10, tsc),
    FIELD(0x3b, tsc_adjust),
    FIELD(0xc0000103, tsc_aux),
    FIELD(0xc0000081, star),
    FIELD(0xc0000082, lstar),
    FIELD(0xc0000083, cstar),
    FIELD(0xc0000084, sfmask),
    FIELD(0xc0000102, kernel_gs_base),
    FIELD(0x174, sysenter_cs),
    FIELD(0x175, sysenter_esp),
    FIELD(0x176, sysenter_eip),
    FIELD(0x277, pat),
    FIELD(0x1a0, misc_enable),
    FIELD(0x1d9, debugctl),
    FIELD(0x48, spec_ctrl),
    FIELD(0xda0, xss),
    FIELD(0x2ff, mtrr_def_type),
    ELEMENT(0x250, mtrr_fixed, 0),
    ELEMENT(0x258, mtrr_fixed, 1),
    ELEMENT(0x259, mtrr_fixed, 2),
    ELEMENT(0x268, mtrr_fixed, 3),
    ELEMENT(0x269, mtrr_fixed, 4),
    ELEMENT(0x26a, mtrr_fixed, 5),
    ELEMENT(0x26b, mtrr_fixed, 6),
    ELEMENT(0x26c, mtrr_fixed, 7),
    ELEMENT(0x26d, mtrr_fixed, 8),
    ELEMENT(0x26e, mtrr_fixed, 9),
    ELEMENT(0x26f, mtrr_fixed, 10),
    ELEMENT(0x200, mtrr_var, 0),
    ELEMENT(0x201, mtrr_var, 1),
    ELEMENT(0x202, mtrr_var, 2),
    ELEMENT(0x203, mtrr_var, 3),
    ELEMENT(0x204, mtrr_var, 4),
    ELEMENT(0x205, mtrr_var, 5),
    ELEMENT(0x206, mtrr_var, 6),
    ELEMENT(0x207, mtrr_var, 7),
    ELEMENT(0x208, mtrr_var, 8),
    ELEMENT(0x209, mtrr_var, 9),
    ELEMENT(0x20a, mtrr_var, 10),
    ELEMENT(0x20b, mtrr_var, 11),
    ELEMENT(0x20c, mtrr_var, 12),
    ELEMENT(0x20d, mtrr_var, 13),
    ELEMENT(0x20e, mtrr_var, 14),
    ELEMENT(0x20f, mtrr_var, 15),
    FIELD(0x4b564d00, kvm_wall_clock),
    FIELD(0x4b564d01, kvm_system_time),
    FIELD(0x4b564d06, kvm_async_pf_int),
    FIELD(0x4b564d02, kvm_async_pf_en),
    FIELD(0x4b564d03, kvm_steal_time),
    FIELD(0x4b564d04, kvm_pv_eoi),
    FIELD(0x4b564d05, kvm_poll_control),
};
#undef FIELD
#undef ELEMENT

}  // namespace

std::span<const MsrEntry> msr_table() { return table; }

u64 msr_value(const Msrs& msrs, const MsrEntry& entry) {
  u64 value;
  std::memcpy(&value, reinterpret_cast<const char*>(&msrs) + entry.offset, sizeof value);
  return value;
}

void set_msr_value(Msrs& msrs, const MsrEntry& entry, u64 value) {
  std::memcpy(reinterpret_cast<char*>(&msrs) + entry.offset, &value, sizeof value);
}

}  // namespace nagaya::engine::kvm
