// Stack, flags, near branches, segments and the old instructions, in the modes where C++ executes them.
#include "engine/soft/exec_env_test.hpp"
#include "engine/soft/light/execute.hpp"

namespace nagaya::engine::soft {
namespace {

using namespace x86;

class IntegerTest : public ExecEnv {
 protected:
  /// Virtual-8086 mode with everything at linear segment << 4.
  void v86(unsigned iopl) {
    mode(32, 3);
    cpu.s.rflags = 2 | flag_vm | iopl << 12;
    for (auto& seg : cpu.s.seg) seg = {.limit = 0xffff, .attr = 0xf3};
    mode_changed(cpu);
    reg(RSP) = 0x8000;
  }
};

TEST_F(IntegerTest, PushPopSegment) {
  mode(64);
  reg(RSP) = 0x9000;
  cpu.s.seg[FS].selector = 0x53;
  at(0x8ff8) = ~u64{0};
  ASSERT_TRUE(run({0x0f, 0xa0}));
  EXPECT_EQ(reg(RSP), 0x8ff8u);
  EXPECT_EQ(at(0x8ff8), 0x53u);
  at(0x8ff8) = 0;
  ASSERT_TRUE(run({0x0f, 0xa9}));  // pop gs: null
  EXPECT_EQ(reg(RSP), 0x9000u);
  EXPECT_EQ(cpu.s.seg[GS].selector, 0);
}

TEST_F(IntegerTest, PopIntoMemoryBasedOnSp) {
  mode(16);
  reg(RSP) = 0x8000;
  at<u16>(0x8000) = 0x1234;
  ASSERT_TRUE(run({0x67, 0x8f, 0x44, 0x24, 0x10}));  // pop word [esp+10h]
  EXPECT_EQ(at<u16>(0x8012), 0x1234) << "address with the SP after the pop";
  EXPECT_EQ(reg(RSP), 0x8002u);
}

TEST_F(IntegerTest, PopFaultKeepsSp) {
  mode(64);
  unmap(0x10000);
  reg(RSP) = 0x9000;
  reg(RAX) = 0x10000;
  EXPECT_FALSE(run({0x66, 0x8f, 0x00}));
  expect_fault(vec_pf, 2);
  EXPECT_EQ(reg(RSP), 0x9000u);
}

TEST_F(IntegerTest, PushaPopa) {
  mode(32);
  for (unsigned i = 0; i < 8; ++i) reg(i) = 0x1000 + i;
  reg(RSP) = 0x9000;
  ASSERT_TRUE(run({0x60}));
  EXPECT_EQ(reg(RSP), 0x9000u - 32);
  EXPECT_EQ(at<u32>(0x8ffc), 0x1000u);
  EXPECT_EQ(at<u32>(0x9000 - 5 * 4), 0x9000u);
  EXPECT_EQ(at<u32>(0x9000 - 32), 0x1007u);
  for (unsigned i = 0; i < 8; ++i) {
    if (i != RSP) reg(i) = 0;
  }
  ASSERT_TRUE(run({0x61}));
  for (unsigned i = 0; i < 8; ++i) EXPECT_EQ(reg(i), i == RSP ? 0x9000 : 0x1000 + i);
}

TEST_F(IntegerTest, EnterBuildsNestedFrames) {
  mode(32);
  reg(RSP) = 0x9000;
  reg(RBP) = 0xa000;
  at<u32>(0x9ffc) = 0x11;
  at<u32>(0x9ff8) = 0x22;
  ASSERT_TRUE(run({0xc8, 0x20, 0, 3}));
  EXPECT_EQ(at<u32>(0x8ffc), 0xa000u);
  EXPECT_EQ(at<u32>(0x8ff8), 0x11u);
  EXPECT_EQ(at<u32>(0x8ff4), 0x22u);
  EXPECT_EQ(at<u32>(0x8ff0), 0x8ffcu);
  EXPECT_EQ(reg(RBP), 0x8ffcu);
  EXPECT_EQ(reg(RSP), 0x8ff0u - 0x20);
  ASSERT_TRUE(run({0x66, 0xc9}));  // 16-bit leave: the 32-bit stack, BP only
  EXPECT_EQ(reg(RSP), 0x8ffeu);
  EXPECT_EQ(reg(RBP), 0xa000u);
}

TEST_F(IntegerTest, PopfRights) {
  mode(64, 3);
  reg(RSP) = 0x9000;
  at(0x9000) = ~u64{0};
  ASSERT_TRUE(run({0x9d}));
  EXPECT_EQ(cpu.s.rflags, 2u | 0x8d5 | flag_tf | flag_df | flag_nt | flag_ac | flag_id);
  mode(64, 0);
  cpu.s.rflags = 2 | flag_rf;
  at(0x9008) = ~u64{0};
  ASSERT_TRUE(run({0x9d}));
  EXPECT_EQ(cpu.s.rflags, 2u | 0x8d5 | flag_tf | flag_df | flag_nt | flag_ac | flag_id | flag_if | flag_iopl);
  ASSERT_TRUE(run({0x9c}));
  EXPECT_EQ(at(0x9008), cpu.s.rflags);
}

TEST_F(IntegerTest, StiShadowOnlyWhenIfWasClear) {
  mode(64);
  ASSERT_TRUE(run({0xfb}));
  EXPECT_TRUE(cpu.s.events.interrupt_shadow);
  cpu.s.events.interrupt_shadow = false;
  ASSERT_TRUE(run({0xfb}));
  EXPECT_FALSE(cpu.s.events.interrupt_shadow);
}

TEST_F(IntegerTest, Virtual8086Flags) {
  v86(0);
  EXPECT_FALSE(run({0xfa}));
  expect_fault(vec_gp, 0);
  EXPECT_FALSE(run({0x9c}));
  expect_fault(vec_gp, 0);
  EXPECT_FALSE(run({0x9d}));
  expect_fault(vec_gp, 0);
  cpu.s.cr4 |= cr4_vme;
  ASSERT_TRUE(run({0xfb}));
  EXPECT_TRUE(cpu.s.rflags & flag_vif);
  ASSERT_TRUE(run({0x9c}));
  EXPECT_EQ(at<u16>(0x7ffe) & 0x3200, 0x3200) << "IOPL 3 and VIF in place of IF";
  at<u16>(0x7ffe) = 0x02;
  ASSERT_TRUE(run({0x9d}));
  EXPECT_FALSE(cpu.s.rflags & flag_vif);
  cpu.s.rflags |= flag_vip;
  EXPECT_FALSE(run({0xfb}));
  expect_fault(vec_gp, 0);
  v86(3);
  ASSERT_TRUE(run({0xfb}));
  EXPECT_TRUE(cpu.s.rflags & flag_if);
}

TEST_F(IntegerTest, VmeRedirectsInterrupts) {
  v86(0);
  cpu.s.cr4 |= cr4_vme;
  cpu.s.tr = {.base = 0x20000, .limit = 0x67 + 32 + 64, .selector = 0x40, .attr = 0x8b};
  at<u16>(0x20000 + 102) = 0x68 + 32;  // the redirection map lies before the I/O map
  at<u32>(0x21 * 4) = 0x30000123;
  cpu.s.rflags |= flag_vif;
  ASSERT_TRUE(run({0xcd, 0x21}));
  EXPECT_EQ(cpu.s.seg[CS].selector, 0x3000);
  EXPECT_EQ(cpu.s.rip, 0x123u);
  EXPECT_EQ(reg(RSP), 0x7ffau);
  EXPECT_EQ(at<u16>(0x7ffa), rip0 + 2);
  EXPECT_EQ(at<u16>(0x7ffe) & 0x3200, 0x3200);
  EXPECT_FALSE(cpu.s.rflags & flag_vif);
}

TEST_F(IntegerTest, SoftwareInterruptsWait) {
  mode(64);
  EXPECT_FALSE(run({0xcd, 0x80}));
  EXPECT_TRUE(cpu.fault.software);
  EXPECT_EQ(cpu.fault.vector, 0x80);
  EXPECT_FALSE(run({0xcc}));
  EXPECT_EQ(cpu.fault.vector, 3);
  mode(32);
  ASSERT_TRUE(run({0xce}));
  EXPECT_EQ(cpu.s.rip, rip0 + 1);
  cpu.s.rflags |= flag_of;
  EXPECT_FALSE(run({0xce}));
  EXPECT_EQ(cpu.fault.vector, 4);
}

TEST_F(IntegerTest, NearBranchesOfSixteenBitCode) {
  mode(16);
  reg(RSP) = 0x8000;
  cpu.s.rip = 0x100;
  ASSERT_TRUE(run({0xe8, 0xfd, 0xfe}));  // call to 0
  EXPECT_EQ(cpu.s.rip, 0u);
  EXPECT_EQ(at<u16>(0x7ffe), 0x103);
  ASSERT_TRUE(run({0xc2, 0x04, 0x00}));
  EXPECT_EQ(cpu.s.rip, 0x103u);
  EXPECT_EQ(reg(RSP), 0x8004u);
  reg(RAX) = 0x12345;
  EXPECT_FALSE(run({0x66, 0xff, 0xe0}));  // jmp eax beyond the limit
  expect_fault(vec_gp, 0);
  EXPECT_EQ(cpu.s.rip, 0x103u);
  ASSERT_TRUE(run({0xff, 0xe0}));
  EXPECT_EQ(cpu.s.rip, 0x2345u);
  reg(RCX) = 0x10001;
  ASSERT_TRUE(run({0xe2, 0x10}));  // loop: CX becomes 0
  EXPECT_EQ(cpu.s.rip, 0x2347u);
  EXPECT_EQ(reg(RCX), 0x10000u);
  ASSERT_TRUE(run({0xe3, 0x10}));  // jcxz
  EXPECT_EQ(cpu.s.rip, 0x2359u);
}

TEST_F(IntegerTest, NonCanonicalTargets) {
  mode(64);
  reg(RSP) = 0x9000;
  reg(RAX) = u64{1} << 47;
  EXPECT_FALSE(run({0xff, 0xd0}));
  expect_fault(vec_gp, 0);
  EXPECT_EQ(reg(RSP), 0x9000u);
  at(0x9000) = u64{1} << 63;
  EXPECT_FALSE(run({0xc3}));
  expect_fault(vec_gp, 0);
  EXPECT_EQ(reg(RSP), 0x9000u);
}

TEST_F(IntegerTest, MovSegmentForms) {
  mode(64);
  cpu.s.seg[DS].selector = 0x1b;
  reg(RAX) = ~u64{0};
  ASSERT_TRUE(run({0x66, 0x8c, 0xd8}));
  EXPECT_EQ(reg(RAX), 0xffffffffffff001bu);
  ASSERT_TRUE(run({0x8c, 0xd8}));
  EXPECT_EQ(reg(RAX), 0x1bu);
  at(0x10000) = ~u64{0};
  reg(RBX) = 0x10000;
  ASSERT_TRUE(run({0x48, 0x8c, 0x1b}));
  EXPECT_EQ(at(0x10000), 0xffffffffffff001bu) << "memory takes 16 bits";
  reg(RAX) = 0;
  ASSERT_TRUE(run({0x8e, 0xd8}));
  EXPECT_EQ(cpu.s.seg[DS].selector, 0);
}

TEST_F(IntegerTest, RealModeSegmentsAndShadow) {
  mode(16);
  reg(RAX) = 0x1234;
  ASSERT_TRUE(run({0x8e, 0xd0}));
  EXPECT_EQ(cpu.s.seg[SS].base, 0x12340u);
  EXPECT_TRUE(cpu.s.events.mov_ss_shadow);
  at<u32>(0x500) = 0xabcd5678;
  ASSERT_TRUE(run({0xc5, 0x1e, 0x00, 0x05}));  // lds bx, [500h]
  EXPECT_EQ(reg(RBX) & 0xffff, 0x5678u);
  EXPECT_EQ(cpu.s.seg[DS].base, 0xabcd0u);
}

TEST_F(IntegerTest, ArplAndBound) {
  mode(32);
  reg(RAX) = 0x10, reg(RCX) = 0x1b;
  ASSERT_TRUE(run({0x63, 0xc8}));  // arpl ax, cx
  EXPECT_EQ(reg(RAX), 0x13u);
  EXPECT_TRUE(cpu.s.rflags & flag_zf);
  ASSERT_TRUE(run({0x63, 0xc8}));
  EXPECT_FALSE(cpu.s.rflags & flag_zf);
  at<i32>(0x10000) = -5, at<i32>(0x10004) = 7;
  reg(RAX) = 0x10000;
  reg(RCX) = static_cast<u32>(-5);
  ASSERT_TRUE(run({0x62, 0x08}));
  reg(RCX) = 8;
  EXPECT_FALSE(run({0x62, 0x08}));
  expect_fault(vec_br);
}

TEST_F(IntegerTest, XlatSalcLahf) {
  mode(32);
  at<u8>(0x10085) = 0x77;
  reg(RBX) = 0x10000;
  reg(RAX) = 0x1285;
  ASSERT_TRUE(run({0xd7}));
  EXPECT_EQ(reg(RAX), 0x1277u);
  cpu.s.rflags |= flag_cf;
  ASSERT_TRUE(run({0xd6}));
  EXPECT_EQ(reg(RAX), 0x12ffu);
  cpu.s.rflags = 0xffffffff & ~u64{0x28};
  ASSERT_TRUE(run({0x9f}));
  EXPECT_EQ(reg(RAX), 0xd7ffu);
  reg(RAX) = 0;
  ASSERT_TRUE(run({0x9e}));
  EXPECT_EQ(cpu.s.rflags & 0xff, 2u);
}

TEST_F(IntegerTest, ConditionsEqualTheHost) {
  mode(32);
  for (unsigned flags = 0; flags < 64; ++flags) {
    const u64 image = 2 | (flags & 1) | (flags & 2) << 1 | (flags & 4) << 4 | (flags & 8) << 4 | (flags & 16) << 7;
    for (unsigned code = 0; code < 16; ++code) {
      cpu.s.rflags = image;
      bool host = false;
#define NAGAYA_CASE(n, cc)                                                                                      \
  case n:                                                                                                       \
    asm("lea -128(%%rsp), %%rsp\n\tpush %1\n\tpopf\n\tset" cc " %0\n\tlea 128(%%rsp), %%rsp" : "=&q"(host) : "r"(image) : "cc"); \
    break;
      switch (code) {
        NAGAYA_CASE(0, "o") NAGAYA_CASE(1, "no") NAGAYA_CASE(2, "b") NAGAYA_CASE(3, "ae") NAGAYA_CASE(4, "e") NAGAYA_CASE(5, "ne")
        NAGAYA_CASE(6, "be") NAGAYA_CASE(7, "a") NAGAYA_CASE(8, "s") NAGAYA_CASE(9, "ns") NAGAYA_CASE(10, "p") NAGAYA_CASE(11, "np")
        NAGAYA_CASE(12, "l") NAGAYA_CASE(13, "ge") NAGAYA_CASE(14, "le") NAGAYA_CASE(15, "g")
      }
#undef NAGAYA_CASE
      EXPECT_EQ(exec::condition(cpu, static_cast<u8>(0x70 | code)), host) << image << " " << code;
    }
  }
}

TEST_F(IntegerTest, ClacStac) {
  mode(64);
  ASSERT_TRUE(run({0x0f, 0x01, 0xcb}));
  EXPECT_TRUE(cpu.s.rflags & flag_ac);
  ASSERT_TRUE(run({0x0f, 0x01, 0xca}));
  EXPECT_FALSE(cpu.s.rflags & flag_ac);
  mode(64, 3);
  EXPECT_FALSE(run({0x0f, 0x01, 0xcb}));
  expect_fault(vec_ud);
}

}  // namespace
}  // namespace nagaya::engine::soft
