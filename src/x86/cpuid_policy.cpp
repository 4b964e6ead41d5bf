// make_cpuid: the machine's policy, leaf by leaf.
#include <algorithm>
#include <bit>

#include "x86/cpuid.hpp"

namespace nagaya::x86 {
namespace {

/// XSAVE components a saved machine holds: x87, SSE, AVX, AVX-512 (three), PKRU.
constexpr u32 kept_xcr0 = 0x2e7;

/// Number of APIC-id bits for `count` processors.
u32 id_bits(unsigned count) { return static_cast<u32>(std::bit_width(count - 1u)); }

/// Features whose state is not part of the machine, by leaf. A bit here is never shown.
void remove_uncarried(CpuidEntry& e) {
  switch (e.function) {
    case 1:
      // DTES64, MONITOR, DS-CPL, VMX, SMX, EST, TM2, xTPR, PDCM, DCA, OSXSAVE (dynamic); DS, ACPI, TM, PBE.
      e.ecx &= ~(1u << 2 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 7 | 1u << 8 | 1u << 14 | 1u << 15 | 1u << 18 |
                 1u << 27);
      e.edx &= ~(1u << 21 | 1u << 22 | 1u << 29 | 1u << 31);
      break;
    case 6: e = {6, 0, false, e.eax & 4, 0, 0, 0}; break;  // only ARAT: the APIC timer never stops
    case 7:
      if (e.index == 0) {
        e.ebx &= ~(1u << 2 | 1u << 12 | 1u << 14 | 1u << 15 | 1u << 25);        // SGX, PQM, MPX, PQE, PT
        e.ecx &= ~(1u << 5 | 1u << 7 | 1u << 13 | 1u << 23 | 1u << 30 | 1u << 31);  // WAITPKG CETSS TME KL SGXLC PKS
        // UINTR, TSX force abort, PCONFIG, arch LBR, CET-IBT, AMX ×3, IA32_ARCH_CAPABILITIES, IA32_CORE_CAPABILITIES
        e.edx &= ~(1u << 5 | 1u << 13 | 1u << 18 | 1u << 19 | 1u << 20 | 1u << 22 | 1u << 24 | 1u << 25 | 1u << 29 | 1u << 30);
      } else if (e.index == 1) {
        e.eax &= ~(1u << 3 | 1u << 8 | 1u << 17 | 1u << 18 | 1u << 19 | 1u << 21 | 1u << 26 | 1u << 27);
        e.edx &= ~(1u << 8 | 1u << 18 | 1u << 21);  // AMX-COMPLEX, CET_SSS, APX
      }
      break;
    case 0xd:
      if (e.index == 0) {
        e.eax &= kept_xcr0;
        e.edx = 0;
      } else if (e.index == 1) {
        e.ecx = e.edx = 0;  // no supervisor components
      }
      break;
    case 0x8000'0001:
      // SVM, OSVW, IBS, SKINIT, WDT, LWP, NodeId, PerfCtr (core, NB, L3), MONITORX
      e.ecx &= ~(1u << 2 | 1u << 9 | 1u << 10 | 1u << 12 | 1u << 13 | 1u << 15 | 1u << 19 | 1u << 23 | 1u << 24 | 1u << 28 |
                 1u << 29);
      break;
    case 0x8000'0007: e.eax = e.ebx = e.ecx = 0, e.edx &= 1u << 8; break;  // invariant TSC only
    default: break;
  }
}

/// Leaves with nothing left to say: SGX, PT, resource control, SVM, SEV, IBS, LWP, perfmon, AMD's extended topology.
bool dropped(const CpuidEntry& e) {
  switch (e.function) {
    case 5: case 0xa: case 0xf: case 0x10: case 0x12: case 0x14: case 0x17: case 0x18: case 0x19: case 0x1a: case 0x1b:
    case 0x1c: case 0x1d: case 0x1e: case 0x20: case 0x23: case 0x24: case 0x8000'000a: case 0x8000'001b:
    case 0x8000'001c: case 0x8000'001f: case 0x8000'0020: case 0x8000'0022: case 0x8000'0023: case 0x8000'0026:
      return true;
    case 0xd: return e.significant_index && e.index >= 2 && (e.index >= 32 || (kept_xcr0 >> e.index & 1) == 0);
    default: return e.function >= 0x4000'0000 && e.function < 0x8000'0000;
  }
}

void set_topology(CpuidEntry& e, const CpuidPolicy& p) {
  const u32 bits = id_bits(p.vcpus);
  const u32 sharing = p.vcpus - 1;
  switch (e.function) {
    case 1:
      e.ebx = (e.ebx & 0xffff) | std::min(1u << bits, 128u) << 16 | p.vcpu << 24;
      e.edx = p.vcpus > 1 ? e.edx | 1u << 28 : e.edx & ~(1u << 28);
      e.ecx |= 1u << 31;
      break;
    case 4:
      if ((e.eax & 0x1f) == 0) break;  // no more caches
      e.eax &= 0x3fff;
      e.eax |= std::min((1u << bits) - 1, 63u) << 26;
      if ((e.eax >> 5 & 7) >= 3) e.eax |= std::min((1u << bits) - 1, 4095u) << 14;
      break;
    case 0x8000'0001:
      e.ecx = p.vcpus > 1 ? e.ecx | 1u << 1 : e.ecx & ~(1u << 1);
      break;
    case 0x8000'0008: e.ecx = (e.ecx & ~0xf0ffu) | bits << 12 | sharing; break;
    case 0x8000'001d:
      if ((e.eax & 0x1f) == 0) break;
      e.eax &= 0x3fff;
      if ((e.eax >> 5 & 7) >= 3) e.eax |= sharing << 14;
      break;
    case 0x8000'001e: e = {e.function, 0, false, p.vcpu, p.vcpu & 0xff, 0, 0}; break;
    default: break;
  }
}

/// Leaves Bh and 1Fh: one thread per core, all cores in one package.
void add_extended_topology(std::vector<CpuidEntry>& out, u32 function, const CpuidPolicy& p) {
  const u32 bits = id_bits(p.vcpus);
  out.push_back({function, 0, true, 0, 1, 0 | 1u << 8, p.vcpu});
  out.push_back({function, 1, true, bits, p.vcpus, 1 | 2u << 8, p.vcpu});
  out.push_back({function, 2, true, 0, 0, 2, p.vcpu});
}

void add_frequency(std::vector<CpuidEntry>& out, const CpuidPolicy& p) {
  const u32 khz = static_cast<u32>(p.tsc_hz / 1000), mhz = static_cast<u32>(p.tsc_hz / 1'000'000);
  // The "crystal" is what the APIC timer counts with: 1 GHz. TSC = crystal × EBX / EAX.
  out.push_back({0x15, 0, false, static_cast<u32>(apic_bus_hz / 1000), khz, p.apic_timer_known ? u32{apic_bus_hz} : 0, 0});
  out.push_back({0x16, 0, false, mhz, mhz, 100, 0});
}

void add_hypervisor(std::vector<CpuidEntry>& out, u32 features, const CpuidPolicy& p) {
  const u32 last = p.tsc_hz != 0 ? 0x4000'0010 : 0x4000'0001;
  out.push_back({0x4000'0000, 0, false, last, 0x4b4d'564b, 0x564b'4d56, 0x4d});  // "KVMKVMKVM"
  out.push_back({0x4000'0001, 0, false, features, 0, 0, 0});
  if (p.tsc_hz != 0) {
    out.push_back({0x4000'0010, 0, false, static_cast<u32>(p.tsc_hz / 1000),
                   p.apic_timer_known ? static_cast<u32>(apic_bus_hz / 1000) : 0, 0, 0});
  }
}

}  // namespace

std::vector<CpuidEntry> make_cpuid(std::span<const CpuidEntry> offered, const CpuidPolicy& policy) {
  std::vector<CpuidEntry> out;
  const CpuidEntry* kvm = find_cpuid(offered, 0x4000'0001);
  const u32 features = kvm != nullptr ? kvm->eax & policy.kvm_features : 0;
  const bool intel = cpuid_vendor(offered) == "GenuineIntel";
  u32 last_basic = 0;
  for (CpuidEntry entry : offered) {
    if (entry.function == 0) last_basic = entry.eax;
    if (dropped(entry) || entry.function == 0xb || entry.function == 0x1f || entry.function == 0x15 ||
        entry.function == 0x16) {
      continue;
    }
    remove_uncarried(entry);
    set_topology(entry, policy);
    out.push_back(entry);
  }
  // Linux reads 15h on Intel's processors only; elsewhere leaf 0 keeps its end.
  const bool frequency = policy.tsc_hz != 0 && (intel || last_basic >= 0x16);
  if (last_basic >= 0xb || intel) last_basic = std::max(last_basic, 0xbu), add_extended_topology(out, 0xb, policy);
  if (frequency) last_basic = std::max(last_basic, 0x16u), add_frequency(out, policy);
  if (last_basic >= 0x1f) last_basic = 0x1f, add_extended_topology(out, 0x1f, policy);
  for (CpuidEntry& entry : out) {
    if (entry.function == 0) entry.eax = last_basic;
  }
  if (features != 0) add_hypervisor(out, features, policy);
  std::ranges::sort(out, {}, [](const CpuidEntry& e) { return std::pair(e.function, e.index); });
  return out;
}

}  // namespace nagaya::x86
