#include "engine/kvm/cpuid.hpp"

#include <linux/kvm.h>

#include <algorithm>
#include <cerrno>

#include "engine/kvm/abi.hpp"
#include "engine/kvm/ioctl.hpp"
#include "engine/kvm/system.hpp"
#include "x86/cpu_state.hpp"

namespace nagaya::engine::kvm {
namespace {

using x86::CpuidEntry;

constexpr u32 bit(unsigned n) { return u32{1} << n; }

Result<std::vector<CpuidEntry>> read_table(int fd) {
  for (std::size_t entries = 128; entries <= 4096; entries *= 2) {
    CountedArray<kvm_cpuid_entry2> table(entries);
    if (auto r = request(fd, get_supported_cpuid, table.data(), "KVM_GET_SUPPORTED_CPUID"); !r) {
      if (r.error().code == E2BIG) continue;
      return std::unexpected(std::move(r).error());
    }
    std::vector<CpuidEntry> out;
    for (std::size_t i = 0; i < table.count(); ++i) {
      const kvm_cpuid_entry2 e = table.entry(i);
      out.push_back(
          {e.function, e.index, (e.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0, e.eax, e.ebx, e.ecx, e.edx});
    }
    return out;
  }
  return fail("KVM's CPUID table is larger than any known CPU's");
}

// Components that fit the saved XSAVE image: by the offsets and sizes that leaf Dh tells, and x87, SSE.
u64 carried_components(std::span<const CpuidEntry> table) {
  u64 mask = 3;
  for (const CpuidEntry& e : table) {
    if (e.function == 0xd && e.index >= 2 && e.index < 63 && u64{e.ebx} + e.eax <= x86::CpuState{}.xsave.size() &&
        !(e.ecx & 1))
      mask |= u64{1} << e.index;
  }
  constexpr u64 known = 0x2e7;  // x87 SSE AVX opmask ZMM_Hi256 Hi16_ZMM PKRU
  return mask & known;
}

void limit_xsave(std::vector<CpuidEntry>& table) {
  const u64 carried = carried_components(table);
  u32 largest = 576;
  for (const CpuidEntry& e : table) {
    if (e.function == 0xd && e.index >= 2 && e.index < 63 && (carried >> e.index & 1))
      largest = std::max(largest, e.eax + e.ebx);
  }
  std::erase_if(table, [&](const CpuidEntry& e) {
    return e.function == 0xd && e.index >= 2 && (e.index >= 63 || !(carried >> e.index & 1));
  });
  for (CpuidEntry& e : table) {
    if (e.function != 0xd) continue;
    if (e.index == 0) {
      e.eax &= static_cast<u32>(carried);
      e.edx &= static_cast<u32>(carried >> 32);
      e.ecx = std::min(e.ecx, largest);
      e.ebx = std::min(e.ebx, largest);
    } else if (e.index == 1) {
      e.eax &= ~bit(4);   // XFD
      e.ecx = e.edx = 0;  // no supervisor state
    }
  }
}

}  // namespace

void apply_limits(std::vector<CpuidEntry>& table, const CpuidLimits& limits) {
  limit_xsave(table);
  for (CpuidEntry& e : table) {
    switch (e.function) {
      case 1:
        e.ecx &= ~(bit(2) | bit(3) | bit(5) | bit(15));  // DTES64, MONITOR, VMX, PDCM
        e.edx &= ~bit(21);                               // DS
        if (!limits.cmpxchg16b) e.ecx &= ~bit(13);
        if (!limits.tsc_deadline) e.ecx &= ~bit(24);
        break;
      case 7:
        if (e.index == 0) {
          e.ebx &= ~(bit(2) | bit(12) | bit(14) | bit(15) | bit(25));  // SGX, PQM, MPX, PQE, PT
          e.ecx &= ~(bit(5) | bit(7) | bit(24) | bit(30));             // WAITPKG, SHSTK, bus-lock trap, SGX_LC
          e.edx &= ~(bit(5) | bit(19) | bit(20) | bit(22) | bit(24) | bit(25));  // UINTR, LBR, IBT, AMX
          if (!limits.arch_capabilities) e.edx &= ~bit(29);
        } else if (e.index == 1) {
          e.eax &= ~(bit(17) | bit(21) | bit(26));  // FRED, AMX-FP16, LAM
          e.edx &= ~(bit(8) | bit(18));             // AMX-COMPLEX, CET_SSS
        }
        break;
      case 0xa:   // performance counters
      case 0x12:  // SGX
      case 0x14:  // processor trace
      case 0x1c:  // last-branch records
      case 0x1d:  // tiles
      case 0x1e:
      case 0x8000000a:  // SVM
      case 0x80000022:  // performance counters
        e.eax = e.ebx = e.ecx = e.edx = 0;
        break;
      case 0x80000001:
        e.ecx &=
            ~(bit(2) | bit(10) | bit(12) | bit(15) | bit(23) | bit(24) | bit(28));  // SVM, IBS, SKINIT, LWP, counters
        break;
      case 0x80000008:
        e.ebx &= ~(bit(25) | bit(26));
        break;  // VIRT_SSBD, SSBD by VIRT_SPEC_CTRL
      case 0x40000001:
        // UNHALT, SEND_IPI, SCHED_YIELD are hypercalls.
        if (!limits.hypercalls) e.eax &= ~(x86::kvm_pv_unhalt | x86::kvm_pv_send_ipi | x86::kvm_pv_sched_yield);
        break;
      default:
        break;
    }
  }
}

Result<std::vector<CpuidEntry>> supported_cpuid(const System& system, const CpuidLimits& limits) {
  TRY_ASSIGN(auto table, read_table(system.fd()));
  // The deadline timer and x2APIC are the in-kernel APIC's, whatever the host CPU has.
  for (CpuidEntry& e : table) {
    if (e.function != 1) continue;
    e.ecx |= bit(21);
    if (system.extension(KVM_CAP_TSC_DEADLINE_TIMER) > 0) e.ecx |= bit(24);
  }
  apply_limits(table, limits);
  return table;
}

u64 xcr0_of(std::span<const CpuidEntry> table) {
  const CpuidEntry* basic = x86::find_cpuid(table, 1);
  const CpuidEntry* xsave = x86::find_cpuid(table, 0xd, 0);
  if (!basic || !(basic->ecx & bit(26)) || !xsave) return 3;
  return (xsave->eax | u64{xsave->edx} << 32) | 3;
}

Result<> set_cpuid(int vcpu_fd, std::span<const CpuidEntry> table) {
  std::vector<kvm_cpuid_entry2> entries;
  for (const CpuidEntry& from : table) {
    kvm_cpuid_entry2 e{};
    e.function = from.function;
    e.index = from.index;
    e.flags = from.significant_index ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
    e.eax = from.eax;
    e.ebx = from.ebx;
    e.ecx = from.ecx;
    e.edx = from.edx;
    entries.push_back(e);
  }
  CountedArray<kvm_cpuid_entry2> list{std::span<const kvm_cpuid_entry2>(entries)};
  TRY(request(vcpu_fd, set_cpuid2, list.data(), "KVM_SET_CPUID2"));
  return {};
}

}  // namespace nagaya::engine::kvm
