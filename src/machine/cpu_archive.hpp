// A processor's state and CPUID table in a saved machine.
#pragma once
#include <vector>

#include "base/result.hpp"
#include "state/archive.hpp"
#include "x86/cpu_state.hpp"
#include "x86/cpuid.hpp"

namespace nagaya::machine {

inline constexpr u32 cpu_section_version = 1;

void put(state::Writer& out, const x86::CpuState& state);
/// Checks that enumerations and reserved parts make sense; what values mean is the engine's to judge.
[[nodiscard]] Result<x86::CpuState> get_cpu(state::Reader& in);

void put(state::Writer& out, const std::vector<x86::CpuidEntry>& table);
[[nodiscard]] Result<std::vector<x86::CpuidEntry>> get_cpuid(state::Reader& in);

}  // namespace nagaya::machine
