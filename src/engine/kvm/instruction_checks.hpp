// Instructions that operating-system kernels use and that some hosts' KVM refuses in guest ring 0.
#pragma once
#include <span>
#include <string>

#include "base/result.hpp"
#include "x86/cpuid.hpp"

namespace nagaya::engine::kvm {

class ScratchGuest;

/// Names of the refused ones, separated by spaces. Only what `cpuid` offers is tried.
[[nodiscard]] Result<std::string> refused_instructions(ScratchGuest& guest, std::span<const x86::CpuidEntry> cpuid);
/// True when the instruction called `name` works; false also for a name that is not in the list.
[[nodiscard]] bool instruction_works(ScratchGuest& guest, std::string_view name);

}  // namespace nagaya::engine::kvm
