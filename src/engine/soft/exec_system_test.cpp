// Control, debug and model-specific registers, CPUID, system calls, descriptor tables: values and refusals.
#include "engine/soft/exec_env_test.hpp"
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/kvm_clock.hpp"

namespace nagaya::engine::soft {
namespace {

using namespace x86;

class SystemTest : public ExecEnv {
 protected:
  bool mov_cr(unsigned index, u64 value) {
    cpu.s.rip = rip0;
    reg(RAX) = value;
    return index == 8 ? run({0x44, 0x0f, 0x22, 0xc0}) : run({0x0f, 0x22, static_cast<int>(0xc0 | index << 3)});
  }
  void expect_refused(unsigned index, u64 value) {
    const auto before = cpu.s;
    EXPECT_FALSE(mov_cr(index, value));
    expect_fault(vec_gp, 0);
    EXPECT_EQ(cpu.s.cr0, before.cr0);
    EXPECT_EQ(cpu.s.cr3, before.cr3);
    EXPECT_EQ(cpu.s.cr4, before.cr4);
  }
  bool wrmsr(u32 index, u64 value) {
    cpu.s.rip = rip0;
    reg(RCX) = index;
    reg(RAX) = value & 0xffffffff;
    reg(RDX) = value >> 32;
    return run({0x0f, 0x30});
  }
  bool rdmsr(u32 index, u64& value) {
    cpu.s.rip = rip0;
    reg(RCX) = index;
    const bool ok = run({0x0f, 0x32});
    value = reg(RDX) << 32 | reg(RAX);
    return ok;
  }
  void expect_msr_refused(u32 index, u64 value) {
    EXPECT_FALSE(wrmsr(index, value)) << std::hex << index;
    expect_fault(vec_gp, 0);
  }
};

TEST_F(SystemTest, Cr0Rules) {
  mode(32);
  const u64 cr0 = cpu.s.cr0;
  expect_refused(0, (cr0 & ~u64{1}) | 1u << 31);             // PG without PE
  expect_refused(0, (cr0 & ~(1u << 30)) | 1u << 29);          // NW without CD
  ASSERT_TRUE(mov_cr(0, cr0 | 0x1000));                       // reserved bits are ignored
  EXPECT_EQ(cpu.s.cr0, cr0);
  ASSERT_TRUE(mov_cr(0, cr0 & ~u64{0x10}));
  EXPECT_EQ(cpu.s.cr0, cr0) << "ET is one";
}

TEST_F(SystemTest, LongModeIsEnteredAndLeft) {
  mode(32);
  ASSERT_TRUE(wrmsr(0xc0000080, efer_lme));
  cpu.s.cr3 = 0x1000;
  expect_refused(0, cpu.s.cr0 | 1u << 31);  // PAE missing
  ASSERT_TRUE(mov_cr(4, cpu.s.cr4 | cr4_pae));
  at(0x1000) = 0x2000 | 7, at(0x2000) = 0x3000 | 7, at(0x3000) = 0x83;
  ASSERT_TRUE(mov_cr(0, cpu.s.cr0 | 1u << 31));
  EXPECT_TRUE(cpu.s.msr.efer & efer_lma);
  expect_refused(4, cpu.s.cr4 & ~cr4_pae);
  expect_msr_refused(0xc0000080, 0);        // LME while paging
  ASSERT_TRUE(mov_cr(0, cpu.s.cr0 & ~(u64{1} << 31)));  // from compatibility mode
  EXPECT_FALSE(cpu.s.msr.efer & efer_lma);
}

TEST_F(SystemTest, PagingCannotEndIn64BitCode) {
  mode(64);
  expect_refused(0, cpu.s.cr0 & ~(u64{1} << 31));
  expect_refused(0, cpu.s.cr0 | u64{1} << 40);
}

TEST_F(SystemTest, PaePointersAreChecked) {
  mode(32);
  ASSERT_TRUE(mov_cr(4, cpu.s.cr4 | cr4_pae));
  at(0x1000) = 0x2000 | 2 | 1;  // R/W is reserved in a PDPTE
  ASSERT_TRUE(mov_cr(3, 0x1000));
  expect_refused(0, cpu.s.cr0 | 1u << 31);
  at(0x1000) = 0x2000 | 1;
  at(0x2000) = 0x83;
  ASSERT_TRUE(mov_cr(0, cpu.s.cr0 | 1u << 31));
  at(0x5020) = 0x2000 | 1u << 6 | 1;
  expect_refused(3, 0x5020);
}

TEST_F(SystemTest, Cr3AndPcidRules) {
  mode(64);
  expect_refused(3, u64{1} << 63 | 0x1000);
  expect_refused(3, u64{1} << 40);
  ASSERT_TRUE(mov_cr(3, 0x1005));
  expect_refused(4, cpu.s.cr4 | cr4_pcide);  // low bits of CR3 in use
  ASSERT_TRUE(mov_cr(3, 0x1000));
  ASSERT_TRUE(mov_cr(4, cpu.s.cr4 | cr4_pcide));
  ASSERT_TRUE(mov_cr(3, u64{1} << 63 | 0x1005));
  EXPECT_EQ(cpu.s.cr3, 0x1005u);
}

TEST_F(SystemTest, Cr4ReservedBitsFollowFeatures) {
  mode(64);
  expect_refused(4, cpu.s.cr4 | 1u << 12);
  expect_refused(4, cpu.s.cr4 | 1u << 13);
  cpu.features &= ~feat_smap;
  expect_refused(4, cpu.s.cr4 | cr4_smap);
}

TEST_F(SystemTest, ControlRegistersArePrivileged) {
  mode(64, 3);
  EXPECT_FALSE(run({0x0f, 0x20, 0xc0}));
  expect_fault(vec_gp, 0);
  EXPECT_FALSE(run({0x0f, 0x32}));
  expect_fault(vec_gp, 0);
  EXPECT_FALSE(run({0xf4}));
  expect_fault(vec_gp, 0);
  EXPECT_FALSE(run({0x0f, 0x01, 0xf8}));  // swapgs
  expect_fault(vec_gp, 0);
  EXPECT_FALSE(run({0xfa}));  // cli
  expect_fault(vec_gp, 0);
}

TEST_F(SystemTest, TlbFollowsTables) {
  mode(64);
  at(0x10000) = 1;
  at(0x11000) = 2;
  reg(RSI) = 0x10000;
  ASSERT_TRUE(run({0x48, 0xad}));
  page(0x10000) = 0x11000 | 7;
  reg(RSI) = 0x10000;
  reg(RAX) = 0x10000;
  cpu.s.rip = rip0;
  ASSERT_TRUE(run({0x0f, 0x01, 0x38}));  // invlpg [rax]
  ASSERT_TRUE(run({0x48, 0xad}));
  EXPECT_EQ(reg(RAX), 2u);
  EXPECT_EQ(cpu.s.rip, rip0 + 5);
}

TEST_F(SystemTest, InvpcidChecks) {
  mode(64);
  reg(RAX) = 0x10000;
  reg(RCX) = 4;
  EXPECT_FALSE(run({0x66, 0x0f, 0x38, 0x82, 0x08}));
  expect_fault(vec_gp, 0);
  reg(RCX) = 0;
  at(0x10008) = u64{1} << 50;
  EXPECT_FALSE(run({0x66, 0x0f, 0x38, 0x82, 0x08}));
  expect_fault(vec_gp, 0);
  at(0x10000) = 0x1000;
  reg(RCX) = 2;
  EXPECT_FALSE(run({0x66, 0x0f, 0x38, 0x82, 0x08}));
  expect_fault(vec_gp, 0);
  at(0x10000) = 0;
  EXPECT_TRUE(run({0x66, 0x0f, 0x38, 0x82, 0x08}));
}

TEST_F(SystemTest, DebugRegisters) {
  mode(64);
  reg(RAX) = 0xffffffff;
  ASSERT_TRUE(run({0x0f, 0x23, 0xf0}));  // dr6
  EXPECT_EQ(cpu.s.dr6, 0xffffefffu & (0xe00f | 0xffff0ff0));
  reg(RAX) = 0xffffdfff;  // without GD
  ASSERT_TRUE(run({0x0f, 0x23, 0xf8}));
  EXPECT_EQ(cpu.s.dr7, (0xffffdfffu & 0xffff23ff) | 0x400);
  reg(RAX) = u64{1} << 32;
  EXPECT_FALSE(run({0x0f, 0x23, 0xf8}));
  expect_fault(vec_gp, 0);
  cpu.s.cr4 |= cr4_de;
  EXPECT_FALSE(run({0x0f, 0x21, 0xe0}));  // dr4
  expect_fault(vec_ud);
  cpu.s.cr4 &= ~cr4_de;
  ASSERT_TRUE(run({0x0f, 0x21, 0xe0}));
  EXPECT_EQ(reg(RAX), cpu.s.dr6);
  cpu.s.dr7 |= 1u << 13;
  EXPECT_FALSE(run({0x0f, 0x21, 0xc0}));
  EXPECT_EQ(cpu.fault.dr6_bits, 1u << 13);
  expect_fault(vec_db);
}

TEST_F(SystemTest, MsrValuesAndRefusals) {
  mode(64);
  u64 value;
  for (const u32 index : {0xc0000082u, 0xc0000083u, 0xc0000100u, 0xc0000101u, 0xc0000102u, 0x175u, 0x176u}) {
    expect_msr_refused(index, u64{1} << 48);
    ASSERT_TRUE(wrmsr(index, 0xffff800000001000));
    ASSERT_TRUE(rdmsr(index, value));
    EXPECT_EQ(value, 0xffff800000001000u);
  }
  EXPECT_EQ(cpu.lin_seg_base[FS], 0xffff800000001000u);
  expect_msr_refused(0x277, 0x02);
  ASSERT_TRUE(wrmsr(0x277, 0x0407050600070106));
  expect_msr_refused(0x250, 2);
  expect_msr_refused(0x2ff, 0x1000);
  expect_msr_refused(0x201, u64{1} << 45);
  expect_msr_refused(0xda0, 0x100);
  expect_msr_refused(0xc0000103, u64{1} << 32);
  expect_msr_refused(0xc0000080, 1u << 12);  // SVME is not offered
  expect_msr_refused(0x12345678, 0);
  EXPECT_FALSE(rdmsr(0x12345678, value));
  expect_fault(vec_gp, 0);
  EXPECT_GT(cpu.count.unknown_msr, 0u);
  for (const u32 index : {0x179u, 0x8bu, 0xc0010015u, 0xc001001fu, 0xc0011029u, 0xfeu, 0x2ffu}) EXPECT_TRUE(rdmsr(index, value));
}

TEST_F(SystemTest, TscIsTheHostsWithAnOffset) {
  mode(64);
  u64 value;
  ASSERT_TRUE(wrmsr(0x10, 0x123456789));
  ASSERT_TRUE(rdmsr(0x10, value));
  EXPECT_GE(value, 0x123456789u);
  EXPECT_LT(value, 0x123456789u + (u64{1} << 40));
  EXPECT_EQ(cpu.s.msr.tsc_adjust, cpu.tsc_offset);
  ASSERT_TRUE(wrmsr(0x3b, 0));
  EXPECT_EQ(cpu.tsc_offset, 0u);
  ASSERT_TRUE(run({0x0f, 0x31}));
  EXPECT_LT(reg(RDX) << 32 | reg(RAX), exec::host_tsc());
}

TEST_F(SystemTest, TscDisable) {
  mode(64, 3);
  cpu.s.cr4 |= cr4_tsd;
  EXPECT_FALSE(run({0x0f, 0x31}));
  expect_fault(vec_gp, 0);
}

TEST_F(SystemTest, KvmClock) {
  mode(64);
  expect_msr_refused(0x4b564d01, 0x10001);  // not offered
  cpuid_set(0x40000001, 0, 1u << 3 | 1u << 5 | 1u << 6 | 1u << 12 | 1u << 24, 0, 0, 0);
  cpu.kvm_clock_offset = 1000;
  ASSERT_TRUE(wrmsr(0x4b564d01, 0x10001));
  EXPECT_EQ(at<u32>(0x10000) & 1, 0u);
  EXPECT_NE(at<u32>(0x10000), 0u);
  EXPECT_EQ(at(0x10008), cpu.s.msr.tsc_adjust);
  EXPECT_EQ(at(0x10010), 1000u);
  EXPECT_EQ(at<u8>(0x1001d), 1u) << "stable";
  // As the guest computes it.
  const u64 before = kvm_clock_ns(cpu);
  const u64 delta = (exec::guest_tsc(cpu) - at(0x10008)) << at<i8>(0x1001c);
  __extension__ using u128 = unsigned __int128;
  const u64 guest = static_cast<u64>(static_cast<u128>(delta) * at<u32>(0x10018) >> 32) + at(0x10010);
  const u64 after = kvm_clock_ns(cpu);
  EXPECT_LE(before, guest);
  EXPECT_LE(guest, after);
  // A guest that writes its TSC does not move its clock.
  ASSERT_TRUE(wrmsr(0x10, 5));
  EXPECT_GE(kvm_clock_ns(cpu), after);
  EXPECT_LT(kvm_clock_ns(cpu), after + 3'600'000'000'000);

  ASSERT_TRUE(wrmsr(0x4b564d00, 0x10100));
  EXPECT_GT(at<u32>(0x10104), 1'600'000'000u) << "seconds since 1970";
  EXPECT_EQ(at<u32>(0x10100) & 1, 0u);
  ASSERT_TRUE(wrmsr(0x4b564d03, 0x10201));
  kvm_steal_add(cpu, 77, true);
  EXPECT_EQ(at(0x10200), 77u);
  EXPECT_EQ(at<u8>(0x10210), 1u);
  ASSERT_TRUE(wrmsr(0x4b564d04, 0x10301));
  ASSERT_TRUE(pv_eoi_offer(cpu));
  EXPECT_EQ(at<u32>(0x10300), 1u);
  at<u32>(0x10300) = 0;
  EXPECT_TRUE(pv_eoi_taken(cpu));
  expect_msr_refused(0x4b564d02, 1);  // asynchronous page faults
  // Pages without RAM are nobody's.
  ASSERT_TRUE(wrmsr(0x4b564d01, 0xfffffffffff001));
  ASSERT_TRUE(wrmsr(0x4b564d01, ~u64{0}));
}

TEST_F(SystemTest, CpuidFollowsState) {
  mode(64);
  cpuid_set(1, 0, 1, 2, 1u << 26, 1u << 9);
  cpuid_set(7, 0, 0, 0x11, 0, 0);
  reg(RAX) = 1;
  ASSERT_TRUE(run({0x0f, 0xa2}));
  EXPECT_EQ(reg(RCX), 1u << 26 | 1u << 27);
  EXPECT_EQ(reg(RDX), 1u << 9);
  cpu.s.apic_base = 0xfee00000;
  reg(RAX) = 1;
  ASSERT_TRUE(run({0x0f, 0xa2}));
  EXPECT_EQ(reg(RDX), 0u);
  reg(RAX) = 7, reg(RCX) = 1;
  ASSERT_TRUE(run({0x0f, 0xa2}));
  EXPECT_EQ(reg(RBX), 0u) << "subleaf not in the table";
  cpu.s.xcr0 = 3;
  reg(RAX) = 0xd, reg(RCX) = 0;
  ASSERT_TRUE(run({0x0f, 0xa2}));
  EXPECT_EQ(reg(RBX), 576u);
  cpu.s.xcr0 = 7;
  reg(RAX) = 0xd, reg(RCX) = 0;
  ASSERT_TRUE(run({0x0f, 0xa2}));
  EXPECT_EQ(reg(RBX), 832u);
}

TEST_F(SystemTest, XsetbvRules) {
  mode(64);
  const auto xsetbv = [&](u32 index, u64 value) {
    reg(RCX) = index, reg(RAX) = value, reg(RDX) = value >> 32;
    return run({0x0f, 0x01, 0xd1});
  };
  for (const u64 bad : {u64{0}, u64{2}, u64{5}, u64{0x27}, u64{1} << 63 | 1, u64{0xe3}}) {
    EXPECT_FALSE(xsetbv(0, bad)) << bad;
    expect_fault(vec_gp, 0);
  }
  EXPECT_FALSE(xsetbv(1, 1));
  expect_fault(vec_gp, 0);
  ASSERT_TRUE(xsetbv(0, 3));
  EXPECT_EQ(cpu.s.xcr0, 3u);
  reg(RCX) = 0;
  ASSERT_TRUE(run({0x0f, 0x01, 0xd0}));
  EXPECT_EQ(reg(RAX), 3u);
  cpu.s.cr4 &= ~cr4_osxsave;
  EXPECT_FALSE(run({0x0f, 0x01, 0xd0}));
  expect_fault(vec_ud);
}

TEST_F(SystemTest, SyscallAndSysret) {
  mode(64, 3);
  cpu.s.msr.star = u64{0x23} << 48 | u64{0x10} << 32;
  cpu.s.msr.lstar = 0xffffffff81000000;
  cpu.s.msr.sfmask = 0x47700;
  cpu.s.rflags = 0x10a47;  // RF, OF, IF, DF clear …
  const u64 flags = cpu.s.rflags;
  ASSERT_TRUE(run({0x0f, 0x05}));
  EXPECT_EQ(cpu.s.rip, 0xffffffff81000000u);
  EXPECT_EQ(reg(RCX), rip0 + 2);
  EXPECT_EQ(reg(R11), flags & ~u64{0x10000});
  EXPECT_EQ(cpu.s.rflags, (flags & ~u64{0x57700}) | 2);
  EXPECT_EQ(cpu.s.seg[CS].selector, 0x10);
  EXPECT_EQ(cpu.s.seg[SS].selector, 0x18);
  EXPECT_EQ(cpl(cpu), 0u);
  EXPECT_TRUE(code64(cpu));

  cpu.s.rip = rip0;
  reg(RCX) = 0x400000;
  reg(R11) = ~u64{0};
  ASSERT_TRUE(run({0x48, 0x0f, 0x07}));
  EXPECT_EQ(cpu.s.rip, 0x400000u);
  EXPECT_EQ(cpu.s.rflags, 0x3c7fd7u);
  EXPECT_EQ(cpu.s.seg[CS].selector, 0x33);
  EXPECT_EQ(cpu.s.seg[SS].selector, 0x2b);
  EXPECT_EQ(cpl(cpu), 3u);
  EXPECT_TRUE(code64(cpu));
  EXPECT_FALSE(run({0x48, 0x0f, 0x07}));
  expect_fault(vec_gp, 0);
}

TEST_F(SystemTest, SysretChecks) {
  mode(64);
  reg(RCX) = u64{1} << 47;
  EXPECT_FALSE(run({0x48, 0x0f, 0x07}));
  expect_fault(vec_gp, 0);
  cpu.s.msr.star = u64{0x23} << 48;
  ASSERT_TRUE(run({0x0f, 0x07}));  // to compatibility mode
  EXPECT_EQ(cpu.s.seg[CS].selector, 0x23);
  EXPECT_FALSE(code64(cpu));
  EXPECT_EQ(cpu.s.rip, 0u);
  mode(64);
  cpu.s.msr.efer &= ~efer_sce;
  EXPECT_FALSE(run({0x0f, 0x05}));
  expect_fault(vec_ud);
}

TEST_F(SystemTest, SysenterAndSysexit) {
  mode(32, 3);
  EXPECT_FALSE(run({0x0f, 0x34}));
  expect_fault(vec_gp, 0);
  cpu.s.msr.sysenter_cs = 0x60;
  cpu.s.msr.sysenter_eip = 0xc0001000;
  cpu.s.msr.sysenter_esp = 0xc0002000;
  cpu.s.rflags |= flag_if;
  ASSERT_TRUE(run({0x0f, 0x34}));
  EXPECT_EQ(cpu.s.rip, 0xc0001000u);
  EXPECT_EQ(reg(RSP), 0xc0002000u);
  EXPECT_EQ(cpu.s.seg[CS].selector, 0x60);
  EXPECT_EQ(cpl(cpu), 0u);
  EXPECT_FALSE(cpu.s.rflags & flag_if);
  cpu.s.rip = rip0;
  reg(RDX) = 0x5000, reg(RCX) = 0x6000;
  ASSERT_TRUE(run({0x0f, 0x35}));
  EXPECT_EQ(cpu.s.rip, 0x5000u);
  EXPECT_EQ(reg(RSP), 0x6000u);
  EXPECT_EQ(cpu.s.seg[CS].selector, 0x73);
  EXPECT_EQ(cpu.s.seg[SS].selector, 0x7b);
  EXPECT_EQ(cpl(cpu), 3u);
}

TEST_F(SystemTest, SwapgsAndBases) {
  mode(64);
  cpu.s.msr.kernel_gs_base = 0xffff888000000000;
  ASSERT_TRUE(run({0x0f, 0x01, 0xf8}));
  EXPECT_EQ(cpu.s.seg[GS].base, 0xffff888000000000u);
  EXPECT_EQ(cpu.lin_seg_base[GS], 0xffff888000000000u);
  EXPECT_EQ(cpu.s.msr.kernel_gs_base, 0u);
  reg(RAX) = 0x1234;
  EXPECT_FALSE(run({0xf3, 0x48, 0x0f, 0xae, 0xd0}));  // wrfsbase without CR4.FSGSBASE
  expect_fault(vec_ud);
  cpu.s.cr4 |= cr4_fsgsbase;
  ASSERT_TRUE(run({0xf3, 0x48, 0x0f, 0xae, 0xd0}));
  EXPECT_EQ(cpu.s.seg[FS].base, 0x1234u);
  ASSERT_TRUE(run({0xf3, 0x48, 0x0f, 0xae, 0xcb}));  // rdgsbase rbx
  EXPECT_EQ(reg(RBX), 0xffff888000000000u);
  reg(RAX) = u64{1} << 50;
  EXPECT_FALSE(run({0xf3, 0x48, 0x0f, 0xae, 0xd0}));
  expect_fault(vec_gp, 0);
}

TEST_F(SystemTest, DescriptorTables) {
  mode(64);
  at<u16>(0x10000) = 0x1234;
  std::memcpy(ram_ + 0x10002, "\x00\x00\x00\x00\x80\x88\xff\xff", 8);
  reg(RAX) = 0x10000;
  ASSERT_TRUE(run({0x0f, 0x01, 0x10}));
  EXPECT_EQ(cpu.s.gdtr.limit, 0x1234);
  EXPECT_EQ(cpu.s.gdtr.base, 0xffff888000000000u);
  reg(RAX) = 0x10100;
  ASSERT_TRUE(run({0x0f, 0x01, 0x00}));
  EXPECT_EQ(std::memcmp(ram_ + 0x10000, ram_ + 0x10100, 10), 0);
  at<u8>(0x10008) = 0x7f;  // not canonical
  reg(RAX) = 0x10000;
  EXPECT_FALSE(run({0x0f, 0x01, 0x18}));
  expect_fault(vec_gp, 0);
  mode(64, 3);
  cpu.s.cr4 |= cr4_umip;
  EXPECT_FALSE(run({0x0f, 0x01, 0x00}));
  expect_fault(vec_gp, 0);
  EXPECT_FALSE(run({0x0f, 0x01, 0xe0}));  // smsw
  expect_fault(vec_gp, 0);
  EXPECT_FALSE(run({0x0f, 0x00, 0xc8}));  // str
  expect_fault(vec_gp, 0);
}

TEST_F(SystemTest, LmswCannotLeaveProtectedMode) {
  mode(32);
  reg(RAX) = 0xe;
  ASSERT_TRUE(run({0x0f, 0x01, 0xf0}));
  EXPECT_EQ(cpu.s.cr0 & 0xf, 0xfu);
  ASSERT_TRUE(run({0x0f, 0x06}));  // clts
  EXPECT_EQ(cpu.s.cr0 & 0xf, 7u);
}

TEST_F(SystemTest, Cr8NeedsTheApic) {
  mode(64);
  ASSERT_TRUE(mov_cr(8, 5));
  EXPECT_TRUE(was_heavy);
  EXPECT_EQ(cpu.s.cr8, 5u);
  EXPECT_FALSE(mov_cr(8, 0x10));
  expect_fault(vec_gp, 0);
}

TEST_F(SystemTest, HltStopsAfterItself) {
  mode(64);
  ASSERT_TRUE(run({0xf4}));
  EXPECT_TRUE(was_heavy);
  EXPECT_EQ(cpu.s.run_state, RunState::halted);
  EXPECT_EQ(cpu.s.rip, rip0 + 1);
}

TEST_F(SystemTest, Ports) {
  mode(64);
  reg(RAX) = 0xaaaaaaaaaaaaaaaa;
  reg(RDX) = 0x3f8;
  ASSERT_TRUE(run({0xec}));
  EXPECT_EQ(reg(RAX), 0xaaaaaaaaaaaaaa88u);
  ASSERT_TRUE(run({0xed}));
  EXPECT_EQ(reg(RAX), 0x55667788u);
  ASSERT_TRUE(run({0x66, 0xe7, 0x80}));
  const std::vector<IoAccess> expected{{0x3f8, 1, false, true, 0}, {0x3f8, 4, false, true, 0}, {0x80, 2, true, true, 0x7788}};
  EXPECT_EQ(io.log, expected);
}

TEST_F(SystemTest, PortsOfUserCodeNeedTheMap) {
  mode(64, 3);
  reg(RDX) = 0x3f8;
  EXPECT_FALSE(run({0xec}));
  expect_fault(vec_gp, 0);
  cpu.s.tr = {.base = 0x20000, .limit = 0x67 + 0x100, .selector = 0x40, .attr = 0x8b};
  at<u16>(0x20000 + 102) = 0x68;
  EXPECT_TRUE(run({0xec}));
  at<u8>(0x20068 + 0x3f8 / 8) = 1;
  EXPECT_FALSE(run({0xec}));
  expect_fault(vec_gp, 0);
  reg(RDX) = 0x3f7;
  EXPECT_TRUE(run({0xec}));
  EXPECT_FALSE(run({0x66, 0xed})) << "the second byte is refused";
  expect_fault(vec_gp, 0);
  reg(RDX) = 0x7f8;  // past the limit
  EXPECT_FALSE(run({0xec}));
  expect_fault(vec_gp, 0);
  cpu.s.rflags |= flag_iopl;
  EXPECT_TRUE(run({0xec}));
}

TEST_F(SystemTest, RepeatedPortsAreRestartable) {
  mode(64);
  reg(RDX) = 0x1f0;
  reg(RDI) = 0x10ffc;
  reg(RCX) = 4;
  unmap(0x11000);
  EXPECT_FALSE(run({0xf3, 0x66, 0x6d}));  // rep insw
  expect_fault(vec_pf, 2);
  EXPECT_EQ(io.log.size(), 2u) << "no port is read whose value has no place";
  EXPECT_EQ(reg(RCX), 2u);
  EXPECT_EQ(reg(RDI), 0x11000u);
  EXPECT_EQ(at<u16>(0x10ffe), 0x7788);
  io.log.clear();
  cpu.s.rip = rip0;
  at<u32>(0x10000) = 0x04030201;
  reg(RSI) = 0x10000;
  reg(RCX) = 4;
  ASSERT_TRUE(run_all({0xf3, 0x6e}));
  EXPECT_EQ(io.log.size(), 4u);
  EXPECT_EQ(io.log[2].value, 3u);
}

TEST_F(SystemTest, Hypercalls) {
  mode(64);
  EXPECT_FALSE(run({0x0f, 0x01, 0xd9}));
  expect_fault(vec_ud);
  cpuid_set(0x40000001, 0, 1u << 13, 0, 0, 0);
  reg(RAX) = 11;
  ASSERT_TRUE(run({0x0f, 0x01, 0xd9}));
  EXPECT_EQ(reg(RAX), 0u);
  reg(RAX) = 99;
  ASSERT_TRUE(run({0x0f, 0x01, 0xc1}));
  EXPECT_EQ(reg(RAX), static_cast<u64>(-1000));
}

TEST_F(SystemTest, UnknownInstructionsAreUndefined) {
  mode(64);
  EXPECT_FALSE(run({0x0f, 0x0b}));
  expect_fault(vec_ud);
  EXPECT_FALSE(run({0x0f, 0xaa}));  // rsm
  expect_fault(vec_ud);
  EXPECT_FALSE(run({0x0f, 0x01, 0xc8}));  // monitor
  expect_fault(vec_ud);
}

}  // namespace
}  // namespace nagaya::engine::soft
