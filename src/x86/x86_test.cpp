#include <gtest/gtest.h>

#include <cstring>

#include "x86/cpu_state.hpp"
#include "x86/cpuid.hpp"

namespace nagaya::x86 {
namespace {

constexpr u32 chars(const char* s) {
  return static_cast<u32>(s[0]) | static_cast<u32>(s[1]) << 8 | static_cast<u32>(s[2]) << 16 | static_cast<u32>(s[3]) << 24;
}

std::vector<CpuidEntry> amd() {
  return {{0, 0, false, 0x10, chars("Auth"), chars("cAMD"), chars("enti")},
          {1, 0, false, 0xa20f10, 0x05040800, 0xffffffff, 0xffffffff},
          {7, 0, true, 1, 0xffffffff, 0xffffffff, 0xffffffff},
          {7, 1, true, 0xffffffff, 0, 0, 0},
          {0xb, 0, true, 1, 2, 0x100, 5},
          {0xd, 0, true, 0x602e7, 0x2a00, 0x2a00, 0},
          {0xd, 1, true, 0xf, 0, 0x1800, 0},
          {0xd, 2, true, 0x100, 0x240, 0, 0},
          {0xd, 17, true, 64, 2752, 0, 0},
          {0xd, 18, true, 8192, 2816, 6, 0},
          {0x40000000, 0, false, 0x40000001, 0, 0, 0},
          {0x40000001, 0, false, 0x01007efb, 0, 0, 0},
          {0x80000000, 0, false, 0x80000021, chars("Auth"), chars("cAMD"), chars("enti")},
          {0x80000001, 0, false, 0xa20f10, 0, 0xffffffff, 0xffffffff},
          {0x80000008, 0, false, 0x3030, 0, 0x703f, 0},
          {0x8000001d, 3, true, 0x1c163, 0, 0, 0},
          {0x8000001e, 0, false, 5, 0x102, 0, 0}};
}
std::vector<CpuidEntry> intel() {
  auto table = amd();
  for (auto& e : table) {
    if (e.function == 0) e.eax = 0x1f, e.ebx = chars("Genu"), e.edx = chars("ineI"), e.ecx = chars("ntel");
  }
  table.push_back({4, 0, true, 0x1c004121, 0, 0, 0});
  table.push_back({4, 3, true, 0x1c03c163, 0, 0, 0});
  return table;
}

TEST(Reset, BootProcessor) {
  const CpuState s = reset_state(true);
  EXPECT_EQ(s.seg[CS].base + s.rip, 0xfffffff0u);
  EXPECT_EQ(s.apic_base, 0xfee00900u);
  EXPECT_EQ(s.run_state, RunState::running);
  EXPECT_EQ(s.seg[CS].type(), 11);
  EXPECT_EQ(s.tr.type(), 11);
  u32 mxcsr;
  std::memcpy(&mxcsr, &s.xsave[24], 4);
  EXPECT_EQ(mxcsr, 0x1f80u);
}

TEST(Reset, OthersWaitAndStartWhereTold) {
  CpuState s = reset_state(false);
  EXPECT_EQ(s.apic_base, 0xfee00800u);
  EXPECT_EQ(s.run_state, RunState::wait_for_sipi);
  apply_sipi(s, 0x9a);
  EXPECT_EQ(s.seg[CS].base + s.rip, 0x9a000u);
  EXPECT_EQ(s.seg[CS].selector, 0x9a00);
  EXPECT_EQ(s.run_state, RunState::running);
}

TEST(Init, KeepsWhatTheManualSays) {
  CpuState s = reset_state(false);
  s.cr0 = 0xe0000011 & ~0x40000000ull;  // paging on, NW set
  s.cr3 = 0x1000, s.cr4 = 0x20, s.xcr0 = 7, s.gpr[RAX] = 5;
  s.msr.efer = 0xd01, s.msr.lstar = 0x1234, s.msr.kvm_system_time = 0x1001;
  s.xsave[32] = 0x77;
  apply_init(s);
  EXPECT_EQ(s.cr0, 0x20000010u);
  EXPECT_EQ(s.cr3 | s.cr4 | s.gpr[RAX] | s.msr.efer | s.msr.kvm_system_time, 0u);
  EXPECT_EQ(s.xcr0, 7u);
  EXPECT_EQ(s.msr.lstar, 0x1234u);
  EXPECT_EQ(s.xsave[32], 0x77);
  EXPECT_EQ(s.run_state, RunState::wait_for_sipi);
  CpuState boot = reset_state(true);
  apply_init(boot);
  EXPECT_EQ(boot.run_state, RunState::running);
}

TEST(Cpuid, TopologyNamesEachProcessor) {
  for (unsigned id = 0; id < 6; ++id) {
    const auto t = make_cpuid(intel(), {.vcpu = id, .vcpus = 6, .kvm_features = default_kvm_features});
    EXPECT_EQ(cpuid_lookup(t, 1, 0)[1] >> 24, id);
    EXPECT_EQ(cpuid_lookup(t, 1, 0)[1] >> 16 & 0xff, 8u);
    EXPECT_NE(cpuid_lookup(t, 1, 0)[3] & 1u << 28, 0u);
    EXPECT_EQ(cpuid_lookup(t, 0xb, 1), (std::array<u32, 4>{3, 6, 0x201, id}));
    EXPECT_EQ(cpuid_lookup(t, 0xb, 9), (std::array<u32, 4>{0, 0, 9, id}));
    EXPECT_EQ(cpuid_lookup(t, 0x1f, 0), cpuid_lookup(t, 0xb, 0));
    EXPECT_EQ(cpuid_lookup(t, 4, 3)[0] >> 14 & 0xfff, 7u);
    EXPECT_EQ(cpuid_lookup(t, 4, 0)[0] >> 14 & 0xfff, 0u);
    EXPECT_EQ(cpuid_lookup(t, 0x8000001e, 0)[0], id);
    EXPECT_EQ(cpuid_lookup(t, 0x80000008, 0)[2] & 0xf0ff, 0x3005u);
  }
}

TEST(Cpuid, HidesStateThatIsNotSaved) {
  const auto t = make_cpuid(amd(), {.vcpus = 1, .kvm_features = default_kvm_features});
  EXPECT_EQ(cpuid_lookup(t, 1, 0)[2] & (1u << 5 | 1u << 3 | 1u << 27), 0u);
  EXPECT_EQ(cpuid_lookup(t, 1, 0)[3] & 1u << 28, 0u);
  EXPECT_EQ(cpuid_lookup(t, 7, 0)[3] & (1u << 22 | 1u << 24 | 1u << 25 | 1u << 29), 0u);
  EXPECT_EQ(cpuid_lookup(t, 0xd, 0)[0], 0x2e7u);
  EXPECT_EQ(cpuid_lookup(t, 0xd, 18), (std::array<u32, 4>{}));
  EXPECT_EQ(cpuid_lookup(t, 0xd, 2)[1], 0x240u);
  EXPECT_EQ(cpuid_lookup(t, 0x80000001, 0)[2] & 1u << 2, 0u);
}

TEST(Cpuid, HypervisorLeaves) {
  auto t = make_cpuid(amd(), {.kvm_features = default_kvm_features, .tsc_hz = 2'500'000'000});
  EXPECT_EQ(cpuid_lookup(t, 0x40000000, 0), (std::array<u32, 4>{0x40000010, 0x4b4d564b, 0x564b4d56, 0x4d}));
  EXPECT_EQ(cpuid_lookup(t, 0x40000001, 0)[0], 0x01007efbu & default_kvm_features);
  EXPECT_EQ(cpuid_lookup(t, 0x40000001, 0)[0] & kvm_async_pf, 0u);
  EXPECT_EQ(cpuid_lookup(t, 0x40000010, 0)[0], 2'500'000u);
  EXPECT_NE(cpuid_lookup(t, 1, 0)[2] & 1u << 31, 0u);
  EXPECT_EQ(cpuid_lookup(t, 0, 0)[0], 0x10u);
  t = make_cpuid(amd(), {.kvm_features = 0});
  EXPECT_EQ(cpuid_lookup(t, 0x40000000, 0), (std::array<u32, 4>{}));
}

TEST(Cpuid, FrequencyNeedsNoCalibrationOnIntel) {
  const auto t = make_cpuid(intel(), {.kvm_features = 0, .tsc_hz = 2'500'000'000});
  const auto leaf = cpuid_lookup(t, 0x15, 0);
  EXPECT_EQ(u64{leaf[2]} * leaf[1] / leaf[0], 2'500'000'000u);
  EXPECT_EQ(cpuid_lookup(t, 0x16, 0)[0], 2500u);
  // Past the end Intel's processors answer as the highest basic leaf.
  EXPECT_EQ(cpuid_lookup(t, 0x30, 0), cpuid_lookup(t, 0x1f, 0));
}

TEST(Cpuid, LossIsNamed) {
  const auto full = make_cpuid(amd(), {.kvm_features = default_kvm_features});
  auto less = full;
  for (auto& e : less) {
    if (e.function == 7 && e.index == 0) e.ebx &= ~(1u << 5);
  }
  EXPECT_FALSE(cpuid_loss(full, full));
  EXPECT_FALSE(cpuid_loss(less, full));
  ASSERT_TRUE(cpuid_loss(full, less));
  EXPECT_NE(cpuid_loss(full, less)->find("0x7.0 EBX bits 0x20"), std::string::npos);
  EXPECT_TRUE(cpuid_loss(make_cpuid(intel(), {}), full));
  EXPECT_FALSE(cpuid_loss(intersect_cpuid(full, less), less));
}

}  // namespace
}  // namespace nagaya::x86
