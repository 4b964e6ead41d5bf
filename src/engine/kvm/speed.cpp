#include "engine/kvm/speed.hpp"

#include <algorithm>

#include "engine/kvm/scratch_guest.hpp"

namespace nagaya::engine::kvm {
namespace {

using namespace std::chrono_literals;

// 200 000 rounds of what kernels do all day: arithmetic, a store and a load, flags saved and restored with interrupts
// off.
constexpr u32 rounds = 200'000;
constexpr u32 instructions_per_round = 7;
constexpr u8 speed_loop[] = {
    0xb9,
    rounds & 0xff,
    rounds >> 8 & 0xff,
    rounds >> 16 & 0xff,
    0,     // mov ecx, rounds
    0x9c,  // again: pushfq
    0xfa,  // cli
    0x89,
    0x0c,
    0x25,
    0x00,
    0x90,
    0x00,
    0x00,  // mov [9000h], ecx
    0x03,
    0x04,
    0x25,
    0x00,
    0x90,
    0x00,
    0x00,  // add eax, [9000h]
    0x9d,  // popfq
    0xff,
    0xc9,  // dec ecx
    0x75,
    0xeb,  // jnz again
    0xf4,  // hlt
};

}  // namespace

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

}  // namespace nagaya::engine::kvm
