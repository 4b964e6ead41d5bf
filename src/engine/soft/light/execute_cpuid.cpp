// CPUID from the vCPU's table, with the few bits that follow the processor's state. Source: Intel SDM vol. 2, CPUID.
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/operand.hpp"
#include "x86/cpuid.hpp"

namespace nagaya::engine::soft::exec {
namespace {

void set_bit(u32& word, unsigned bit, bool on) { word = on ? word | 1u << bit : word & ~(1u << bit); }

/// Bytes of an XSAVE area for the components, standard or compacted (Intel SDM vol. 1, 13.4.3).
u32 xsave_bytes(const SoftCpu& cpu, u64 components, bool compacted) {
  u32 size = 576;
  for (unsigned i = 2; i < 63; ++i) {
    if (!(components >> i & 1)) continue;
    const auto* entry = find_cpuid(cpu, 0xd, i);
    if (!entry) continue;
    if (compacted) {
      if (entry->ecx & 2) size = (size + 63) & ~63u;
      size += entry->eax;
    } else if (entry->ebx + entry->eax > size) {
      size = entry->ebx + entry->eax;
    }
  }
  return size;
}

}  // namespace

const x86::CpuidEntry* find_cpuid(const SoftCpu& cpu, u32 function, u32 index) {
  for (u32 i = 0; i < cpu.cpuid_count; ++i) {
    const auto& entry = cpu.cpuid[i];
    if (entry.function == function && (!entry.significant_index || entry.index == index)) return &entry;
  }
  return nullptr;
}

bool cpuid_feature(const SoftCpu& cpu, u32 function, u32 index, unsigned word, unsigned bit) {
  const auto* entry = find_cpuid(cpu, function, index);
  if (!entry) return false;
  const u32 words[4] = {entry->eax, entry->ebx, entry->ecx, entry->edx};
  return words[word & 3] >> bit & 1;
}

bool cpuid(SoftCpu& cpu) {
  u32 function = static_cast<u32>(cpu.s.gpr[RAX]);
  const u32 index = static_cast<u32>(cpu.s.gpr[RCX]);
  const auto* entry = find_cpuid(cpu, function, index);
  if (!entry && function < 0x40000000) {
    // Past the last basic leaf Intel processors answer with that leaf, AMD's with zeros.
    const auto* first = find_cpuid(cpu, 0, 0);
    constexpr u32 intel = 0x756e6547;  // "Genu" of GenuineIntel
    if (first && first->ebx == intel && function > first->eax) {
      function = first->eax;
      entry = find_cpuid(cpu, function, index);
    }
  }
  u32 a = 0, b = 0, c = 0, d = 0;
  if (entry) {
    a = entry->eax;
    b = entry->ebx;
    c = entry->ecx;
    d = entry->edx;
  } else if (function == 0xb || function == 0x1f) {
    // Invalid topology levels still tell the level asked for and the x2APIC id.
    if (const auto* level0 = find_cpuid(cpu, function, 0)) {
      c = index & 0xff;
      d = level0->edx;
    }
  }
  const bool apic_on = cpu.s.apic_base >> 11 & 1;
  switch (function) {
    case 1:
      if (entry) {
        set_bit(c, 27, cpu.s.cr4 & cr4_osxsave);
        set_bit(d, 9, (d >> 9 & 1) && apic_on);
      }
      break;
    case 7:
      if (entry && index == 0) set_bit(c, 4, cpu.s.cr4 & cr4_pke);
      break;
    case 0xd:
      if (entry && index == 0) b = xsave_bytes(cpu, cpu.s.xcr0, false);
      if (entry && index == 1 && (a & 0xa)) b = xsave_bytes(cpu, cpu.s.xcr0 | cpu.s.msr.xss, true);
      break;
    case 0x80000001: set_bit(d, 9, (d >> 9 & 1) && apic_on); break;
    default: break;
  }
  cpu.s.gpr[RAX] = a;
  cpu.s.gpr[RBX] = b;
  cpu.s.gpr[RCX] = c;
  cpu.s.gpr[RDX] = d;
  return true;
}

}  // namespace nagaya::engine::soft::exec
