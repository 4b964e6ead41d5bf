#include "engine/kvm/host_limits.hpp"

#include <linux/kvm.h>

#include <mutex>
#include <optional>

#include "engine/kvm/instruction_checks.hpp"
#include "engine/kvm/msr_list.hpp"
#include "engine/kvm/msr_table.hpp"
#include "engine/kvm/scratch_guest.hpp"
#include "engine/kvm/speed.hpp"
#include "engine/kvm/system.hpp"

namespace nagaya::engine::kvm {
namespace {

// What KVM itself would put into an MSR that describes features; 0 where it does not know it.
u64 feature_msr(const System& system, u32 index) {
  kvm_msr_entry entry{.index = index, .reserved = 0, .data = 0};
  return get_msrs(system.fd(), std::span(&entry, 1)).value_or(0) == 1 ? entry.data : 0;
}

Result<HostLimits> measure(const System& system) {
  TRY_ASSIGN(auto guest, ScratchGuest::create(system));
  HostLimits limits;
  limits.cpuid.arch_capabilities =
      guest->can_set_msr(msr_arch_capabilities, feature_msr(system, msr_arch_capabilities));
  limits.cpuid.hypercalls = instruction_works(*guest, "VMCALL");
  limits.cpuid.cmpxchg16b = instruction_works(*guest, "CMPXCHG16B");
  TRY_ASSIGN(const double mips, measure_mips(*guest));
  limits.dirty_ring = mips >= fast_mips;
  return limits;
}

}  // namespace

Result<HostLimits> measure_limits(const System& system) {
  static std::mutex mutex;
  static std::optional<HostLimits> known;
  std::lock_guard lock(mutex);
  if (!known) {
    TRY_ASSIGN(known, measure(system));
  }
  return *known;
}

}  // namespace nagaya::engine::kvm
