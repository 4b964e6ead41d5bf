#include "engine/kvm/probe_kvm.hpp"

#include <cerrno>

#include "engine/kvm/cpuid.hpp"
#include "engine/kvm/instruction_checks.hpp"
#include "engine/kvm/scratch_guest.hpp"
#include "engine/kvm/speed.hpp"
#include "engine/kvm/system.hpp"

namespace nagaya::engine::kvm {
namespace {

Result<> look(const System& system, ProbeResult& result) {
  TRY_ASSIGN(const auto cpuid, supported_cpuid(system, {}));
  TRY_ASSIGN(auto guest, ScratchGuest::create(system));
  TRY_ASSIGN(result.mips, measure_mips(*guest));
  TRY_ASSIGN(result.missing, refused_instructions(*guest, cpuid));
  return {};
}

}  // namespace

ProbeResult probe_kvm(const std::string& device) {
  ProbeResult result;
  auto system = System::open(device);
  if (!system) {
    const Error& error = system.error();
    const bool absent = error.code == ENOENT || error.code == ENXIO || error.code == ENODEV;
    result.verdict = absent ? ProbeVerdict::absent : ProbeVerdict::refused;
    result.why = error.why.empty() ? error.what : error.why;
    result.host_errno = static_cast<unsigned>(error.code);
    return result;
  }
  if (auto looked = look(*system, result); !looked) {
    result.verdict = ProbeVerdict::refused;
    result.why = looked.error().why.empty() ? looked.error().what : looked.error().what + ": " + looked.error().why;
    result.host_errno = static_cast<unsigned>(looked.error().code);
    return result;
  }
  if (result.mips < fast_mips) {
    result.verdict = ProbeVerdict::emulates_kernel;
    result.why = "it executes guest kernel code one instruction at a time";
  } else if (!result.missing.empty()) {
    result.verdict = ProbeVerdict::incomplete;
    result.why = "it refuses instructions that kernels use";
  } else {
    result.verdict = ProbeVerdict::fast;
  }
  return result;
}

}  // namespace nagaya::engine::kvm
