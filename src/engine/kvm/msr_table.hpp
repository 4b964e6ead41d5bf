// Which model-specific register each field of x86::Msrs is.
#pragma once
#include <span>

#include "x86/cpu_state.hpp"

namespace nagaya::engine::kvm {

struct MsrEntry {
  u32 index;
  const char* name;
  std::size_t offset;  ///< of its u64 in x86::Msrs
};

/// All of them but EFER, which travels with the control registers, in an order in which they can be written.
[[nodiscard]] std::span<const MsrEntry> msr_table();
[[nodiscard]] u64 msr_value(const x86::Msrs& msrs, const MsrEntry& entry);
void set_msr_value(x86::Msrs& msrs, const MsrEntry& entry, u64 value);

inline constexpr u32 msr_tsc_deadline = 0x6e0;
inline constexpr u32 msr_arch_capabilities = 0x10a;

}  // namespace nagaya::engine::kvm
