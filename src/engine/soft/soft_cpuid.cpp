// What CPUID shows: the host's computational features, because its instructions run as they are, less what the engine does not
// carry; and the system features, which are the engine's own and so the same on every host.
#include <cpuid.h>

#include "engine/soft/engine_impl.hpp"

namespace nagaya::engine::soft {
namespace {

struct Regs {
  u32 eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Regs host(u32 function, u32 index = 0) {
  Regs r;
  __cpuid_count(function, index, r.eax, r.ebx, r.ecx, r.edx);
  return r;
}

constexpr u32 bits(std::initializer_list<int> list) {
  u32 out = 0;
  for (int b : list) out |= 1u << b;
  return out;
}

// Leaf 1. Carried from the host: SSE3 PCLMULQDQ SSSE3 FMA CX16 SSE4.1 SSE4.2 MOVBE POPCNT AES AVX F16C RDRAND.
constexpr u32 l1_ecx_host = bits({0, 1, 9, 12, 13, 19, 20, 22, 23, 25, 28, 29, 30});
// The engine's own: PCID, x2APIC, TSC deadline, XSAVE, "hypervisor present".
constexpr u32 l1_ecx_own = bits({17, 21, 24, 26, 31});
// FPU DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE36 CLFSH MMX FXSR SSE SSE2.
constexpr u32 l1_edx_own = bits({0, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 19, 23, 24, 25, 26});
// Leaf 7. BMI1 AVX2 BMI2 ERMS AVX512F AVX512DQ RDSEED ADX IFMA CLFLUSHOPT CLWB AVX512CD SHA AVX512BW AVX512VL.
constexpr u32 l7_ebx_host = bits({3, 5, 8, 9, 16, 17, 18, 19, 21, 23, 24, 28, 29, 30, 31});
constexpr u32 l7_ebx_avx512 = bits({16, 17, 21, 28, 30, 31});
// FSGSBASE TSC_ADJUST SMEP INVPCID SMAP.
constexpr u32 l7_ebx_own = bits({0, 1, 7, 10, 20});
// VBMI VBMI2 GFNI VAES VPCLMULQDQ VNNI BITALG VPOPCNTDQ; own: UMIP RDPID.
constexpr u32 l7_ecx_host = bits({1, 6, 8, 9, 10, 11, 12, 14});
constexpr u32 l7_ecx_avx512 = bits({1, 6, 11, 12, 14});
constexpr u32 l7_ecx_own = bits({2, 22});
constexpr u32 l7_edx_host = bits({4});  // FSRM
// What guests do against speculation is lost on this engine: their returns and indirect branches are none of the host's. Those told so
// leave it out (docs/design/software-engine.md). SPEC_CTRL and ARCH_CAPABILITIES, with the latter's "not affected" bits; SSB_NO; SRSO_NO;
// TSA_SQ_NO and TSA_L1_NO. Sources: Intel SDM vol. 4, table 2-2, MSR 10AH; AMD APM vol. 3, E.4.7, E.4.22.
constexpr u32 l7_edx_own = bits({26, 29}), e8_ebx_own = bits({26}), e21_eax_own = bits({29}), e21_ecx_own = bits({1, 2});
constexpr u32 l71_eax_host = bits({4, 5});  // AVX-VNNI, AVX512_BF16
// Leaf 8000_0001h. LAHF ABM SSE4A MISALIGNSSE 3DNOWPREFETCH; own: CMP_LEGACY and topology belong to the machine.
constexpr u32 e1_ecx_host = bits({0, 5, 6, 7, 8});
constexpr u32 e1_edx_host = bits({22});  // MMXEXT
// SYSCALL NX PDPE1GB RDTSCP LM.
constexpr u32 e1_edx_own = bits({11, 20, 26, 27, 29});

constexpr u32 xcr0_avx512 = 0xe0;

}  // namespace

u64 carried_xcr0() {
  if (!(host(1).ecx >> 27 & 1)) return 3;
  u32 lo, hi;
  asm volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  u64 carried = lo & 0xe7;
  if ((carried & xcr0_avx512) != xcr0_avx512) carried &= 7;
  return carried;
}

std::string missing_host_features() {
  std::string out;
  const auto need = [&](bool have, const char* name) {
    if (!have) out += (out.empty() ? "" : ", ") + std::string(name);
  };
  const Regs l1 = host(1), l7 = host(7);
  need(l1.ecx >> 26 & 1 && l1.ecx >> 27 & 1, "XSAVE");
  need(l1.ecx >> 13 & 1, "CMPXCHG16B");
  need(l1.ecx >> 28 & 1, "AVX");
  need(l7.ebx >> 8 & 1, "BMI2");
  need((carried_xcr0() & 7) == 7, "AVX state enabled by the kernel");
  need(host(0x80000001).ecx & 1, "LAHF in 64-bit mode");
  return out;
}

std::vector<CpuidEntry> host_cpuid() {
  std::vector<CpuidEntry> t;
  const auto add = [&](u32 function, u32 index, bool significant, Regs r) {
    t.push_back({function, index, significant, r.eax, r.ebx, r.ecx, r.edx});
  };
  const u64 xcr0 = carried_xcr0();
  const bool avx512 = (xcr0 & xcr0_avx512) != 0;
  const u32 max = host(0).eax;
  Regs r = host(0);
  r.eax = max < 0xd ? max : max > 0x1f ? 0x1f : max;
  add(0, 0, false, r);
  r = host(1);
  r.ebx = (r.ebx & 0x0000ff00);  // CLFLUSH line size; ids are the machine's
  r.ecx = (r.ecx & l1_ecx_host) | l1_ecx_own;
  r.edx = l1_edx_own;
  add(1, 0, false, r);
  if (max >= 2) add(2, 0, false, host(2));
  if (max >= 4) {
    for (u32 i = 0; i < 8; ++i) {
      r = host(4, i);
      if ((r.eax & 31) == 0) break;
      add(4, i, true, r);
    }
  }
  r = host(7);
  Regs l7;
  l7.eax = max >= 7 && r.eax >= 1 ? 1 : 0;
  l7.ebx = (r.ebx & l7_ebx_host) | l7_ebx_own;
  l7.ecx = (r.ecx & l7_ecx_host) | l7_ecx_own;
  l7.edx = (r.edx & l7_edx_host) | l7_edx_own;
  if (!avx512) l7.ebx &= ~l7_ebx_avx512, l7.ecx &= ~l7_ecx_avx512;
  add(7, 0, true, l7);
  if (l7.eax >= 1) {
    r = host(7, 1);
    add(7, 1, true, {r.eax & (avx512 ? l71_eax_host : l71_eax_host & ~(1u << 5)), 0, 0, 0});
  }
  r = host(0xd);
  u32 size = 576;
  for (u32 i = 2; i < 8; ++i) {
    if (!(xcr0 >> i & 1)) continue;
    const Regs c = host(0xd, i);
    if (c.ebx + c.eax > size) size = c.ebx + c.eax;
  }
  add(0xd, 0, true, {static_cast<u32>(xcr0), size, size, 0});
  add(0xd, 1, true, {0xf, size, 0, 0});  // XSAVEOPT, XSAVEC, XGETBV(1), XSAVES
  for (u32 i = 2; i < 8; ++i) {
    if (!(xcr0 >> i & 1)) continue;
    const Regs c = host(0xd, i);
    add(0xd, i, true, {c.eax, c.ebx, c.ecx & 2, 0});
  }
  add(0x40000000, 0, false, {0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d});  // "KVMKVMKVM"
  add(0x40000001, 0, false, {x86::default_kvm_features, 0, 0, 0});
  r = host(0x80000000);
  constexpr u32 ext = 0x80000021;
  const bool cache_leaves = r.eax >= 0x8000001d;
  r.eax = ext;
  add(0x80000000, 0, false, r);
  r = host(0x80000001);
  r.ecx &= e1_ecx_host;
  r.edx = (r.edx & e1_edx_host) | e1_edx_own;
  r.ebx = 0;
  add(0x80000001, 0, false, r);
  for (u32 f = 0x80000002; f <= 0x80000006; ++f) add(f, 0, false, host(f));
  add(0x80000007, 0, false, {0, 0, 0, 1u << 8});
  u32 phys = host(0x80000008).eax & 0xff;
  if (phys < 36 || phys > 46) phys = phys < 36 ? 36 : 46;
  add(0x80000008, 0, false, {phys | 48u << 8, e8_ebx_own, 0, 0});
  if (cache_leaves) {
    for (u32 i = 0; i < 8; ++i) {
      r = host(0x8000001d, i);
      if ((r.eax & 31) == 0) break;
      add(0x8000001d, i, true, r);
    }
  }
  add(0x80000021, 0, false, {e21_eax_own, 0, e21_ecx_own, 0});
  return t;
}

u32 features_of(std::span<const CpuidEntry> table) {
  const auto leaf = [&](u32 f, u32 i = 0) { return x86::cpuid_lookup(table, f, i); };
  const auto l1 = leaf(1), l7 = leaf(7), e1 = leaf(0x80000001);
  u32 out = 0;
  const auto set = [&](bool on, Feature f) { out |= on ? static_cast<u32>(f) : 0; };
  set(l1[2] >> 17 & 1, feat_pcid);
  set(l1[2] >> 21 & 1, feat_x2apic);
  set(l1[2] >> 24 & 1, feat_tsc_deadline);
  set(l1[2] >> 26 & 1, feat_xsave);
  set(l7[1] & 1, feat_fsgsbase);
  set(l7[1] >> 7 & 1, feat_smep);
  set(l7[1] >> 10 & 1, feat_invpcid);
  set(l7[1] >> 20 & 1, feat_smap);
  set(l7[2] >> 2 & 1, feat_umip);
  set(l7[2] >> 22 & 1, feat_rdpid);
  set(e1[3] >> 11 & 1, feat_syscall);
  set(e1[3] >> 20 & 1, feat_nx);
  set(e1[3] >> 26 & 1, feat_pdpe1gb);
  set(e1[3] >> 27 & 1, feat_rdtscp);
  return out;
}

}  // namespace nagaya::engine::soft
