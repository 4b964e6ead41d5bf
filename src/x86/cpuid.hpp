// CPUID as a table, and the machine's policy over what an engine offers: topology per processor, the hypervisor leaves,
// frequencies. Sources: Intel SDM vol. 2A "CPUID"; AMD APM vol. 3 appendix E; Linux Documentation/virt/kvm/x86/cpuid.rst.
#pragma once
#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::x86 {

/// One leaf (and subleaf, when `significant_index`) as the guest sees it.
struct CpuidEntry {
  u32 function = 0, index = 0;
  bool significant_index = false;
  u32 eax = 0, ebx = 0, ecx = 0, edx = 0;
  bool operator==(const CpuidEntry&) const = default;
};

/// Bits of leaf 4000_0001h EAX.
enum KvmFeature : u32 {
  kvm_clocksource = 1u << 0,
  kvm_nop_io_delay = 1u << 1,
  kvm_clocksource2 = 1u << 3,
  kvm_async_pf = 1u << 4,
  kvm_steal_time = 1u << 5,
  kvm_pv_eoi = 1u << 6,
  kvm_pv_unhalt = 1u << 7,
  kvm_pv_tlb_flush = 1u << 9,
  kvm_pv_send_ipi = 1u << 11,
  kvm_poll_control = 1u << 12,
  kvm_pv_sched_yield = 1u << 13,
  kvm_clocksource_stable = 1u << 24,
};

/// What the machine decides; everything else is as the engine offers.
struct CpuidPolicy {
  unsigned vcpu = 0;    ///< this processor's number = its APIC id
  unsigned vcpus = 1;   ///< cores in one socket, one thread each
  u32 kvm_features = 0;  ///< mask over what the engine's leaf 4000_0001h offers; 0 hides the hypervisor leaves
  u64 tsc_hz = 0;       ///< 0: unknown, no frequency leaf is given
  bool apic_timer_known = true;  ///< tell the APIC bus frequency, too
};

/// The APIC bus (timer) frequency of this machine: 1 GHz, one tick per nanosecond, as KVM's.
inline constexpr u64 apic_bus_hz = 1'000'000'000;

/// What a guest of this machine gets from Linux's KVM interface, if the engine carries it. Asynchronous page faults stay
/// out: pages in flight are not part of a saved machine.
inline constexpr u32 default_kvm_features = kvm_clocksource | kvm_nop_io_delay | kvm_clocksource2 | kvm_steal_time |
                                            kvm_pv_unhalt | kvm_pv_send_ipi | kvm_pv_sched_yield |
                                            kvm_clocksource_stable;

/// The table one processor shows, from what the engine offers: state that a saved machine does not hold (AMX, MPX, CET,
/// performance counters, nested virtualization …) is taken out, whatever the engine says.
[[nodiscard]] std::vector<CpuidEntry> make_cpuid(std::span<const CpuidEntry> offered, const CpuidPolicy& policy);

/// What CPUID answers for (function, index) including the rule for leaves past the end (Intel: the highest basic leaf;
/// AMD: zeros), from a table.
[[nodiscard]] std::array<u32, 4> cpuid_lookup(std::span<const CpuidEntry> table, u32 function, u32 index);
[[nodiscard]] const CpuidEntry* find_cpuid(std::span<const CpuidEntry> table, u32 function, u32 index = 0);

/// `table` with every feature bit cleared that `other` does not have: what a machine may show that is to run on both.
[[nodiscard]] std::vector<CpuidEntry> intersect_cpuid(std::span<const CpuidEntry> table, std::span<const CpuidEntry> other);

/// Twelve-byte vendor name from leaf 0.
[[nodiscard]] std::string cpuid_vendor(std::span<const CpuidEntry> table);
/// Empty when a guest that started on `saved` can go on on `now`; else names the first leaf and bit it would lose.
[[nodiscard]] std::optional<std::string> cpuid_loss(std::span<const CpuidEntry> saved, std::span<const CpuidEntry> now);

}  // namespace nagaya::x86
