#include "engine/kvm/probe_kvm.hpp"

#include <algorithm>
#include <cerrno>

#include "engine/kvm/cpuid.hpp"
#include "engine/kvm/instruction_checks.hpp"
#include "engine/kvm/scratch_guest.hpp"
#include "engine/kvm/system.hpp"

namespace nagaya::engine::kvm {
namespace {

using namespace std::chrono_literals;

// 200 000 rounds of what kernels do all day: arithmetic, a store and a load, flags saved and restored with interrupts off.
constexpr u32 rounds = 200'000;
constexpr u32 instructions_per_round = 7;
constexpr u8 speed_loop[] = {
    0xb9, rounds & 0xff, rounds >> 8 & 0xff, rounds >> 16 & 0xff, 0,  // mov ecx, rounds
    0x9c,                                                              // again: pushfq
    0xfa,                                                              // cli
    0x89, 0x0c, 0x25, 0x00, 0x90, 0x00, 0x00,                          // mov [9000h], ecx
    0x03, 0x04, 0x25, 0x00, 0x90, 0x00, 0x00,                          // add eax, [9000h]
    0x9d,                                                              // popfq
    0xff, 0xc9,                                                        // dec ecx
    0x75, 0xeb,                                                        // jnz again
    0xf4,                                                              // hlt
};
// Real hardware does hundreds, also nested; one-by-one emulation about one.
constexpr double fast_mips = 40;

Result<double> measure_mips(ScratchGuest& guest) {
  double best = 0;
  // A second look where the first was not hopeless: the host may have been busy.
  for (int attempt = 0; attempt < 2 && best < fast_mips; ++attempt) {
    TRY_ASSIGN(const auto outcome, guest.run(speed_loop, 2000us));
    if (outcome.end == ScratchGuest::End::refused || outcome.end == ScratchGuest::End::shutdown)
      return fail("KVM cannot run a simple loop in guest ring 0");
    const u64 left = outcome.end == ScratchGuest::End::halted ? 0 : std::min<u64>(outcome.rcx, rounds);
    const double done = static_cast<double>((rounds - left) * instructions_per_round);
    const bool hopeless = outcome.end == ScratchGuest::End::timeout && done < 5 * 2000;
    best = std::max(best, done * 1000.0 / static_cast<double>(std::max<u64>(outcome.elapsed_ns, 1)));
    if (hopeless) break;
  }
  return best;
}

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
