// Exceptions that the host's own CPU raises in re-encoded instructions: divide errors, x87 and SIMD exceptions, alignment.
#include <gtest/gtest.h>

#include "engine/soft/system_guest_test_util.hpp"

namespace nagaya::engine::soft {

#define EXIT "out %al, $0xf4\n"

NAGAYA_GUEST_CODE(div_zero, "cmp %rax, %rax\n stc\n div %rbx\n" EXIT);
NAGAYA_GUEST_CODE(div_overflow, "mov $-1, %rdx\n stc\n div %r10\n" EXIT);
NAGAYA_GUEST_CODE(idiv_memory, "stc\n idivl 4(%rsi,%rcx,2)\n" EXIT);
NAGAYA_GUEST_CODE(div_high8, "stc\n div %ch\n" EXIT);
NAGAYA_GUEST_CODE(x87_unmasked, "fninit\n movw $0x37b, (%rsi)\n fldcw (%rsi)\n fld1\n fldz\n fdivrp\n nop\n fnop\n" EXIT);
NAGAYA_GUEST_CODE(x87_wait, "fninit\n movw $0x37b, (%rsi)\n fldcw (%rsi)\n fld1\n fldz\n fdivrp\n fnstsw %ax\n fwait\n" EXIT);
NAGAYA_GUEST_CODE(x87_store, "fninit\n movw $0x37b, (%rsi)\n fldcw (%rsi)\n fld1\n fldz\n fdivrp\n fstpl 8(%rsi)\n" EXIT);
NAGAYA_GUEST_CODE(simd_unmasked, R"(
  movl $0x1d80, (%rsi)
  ldmxcsr (%rsi)
  mov $1, %eax
  cvtsi2sd %eax, %xmm0
  xorps %xmm1, %xmm1
  movaps %xmm0, %xmm2
  divsd %xmm1, %xmm2
)" EXIT);
NAGAYA_GUEST_CODE(simd_memory, R"(
  movl $0x1d80, (%rsi)
  ldmxcsr (%rsi)
  movups 16(%rsi), %xmm0
  divpd 32(%rsi), %xmm0
)" EXIT);
NAGAYA_GUEST_CODE(movaps_odd, "stc\n movaps %xmm0, 8(%rsi)\n" EXIT);
NAGAYA_GUEST_CODE(vmovdqa_odd, "stc\n vmovdqa 16(%rsi), %ymm1\n" EXIT);
NAGAYA_GUEST_CODE(cmpxchg16_odd, "stc\n lock cmpxchg16b 8(%rsi)\n" EXIT);
NAGAYA_GUEST_CODE(mxcsr_reserved, "movl $0x80001f80, (%rsi)\n ldmxcsr (%rsi)\n" EXIT);

// With an exception pending, so that every processor keeps the pointers.
NAGAYA_GUEST_CODE(x87_pointers, R"(
  fninit
  movw $0x37b, (%rsi)
  fldcw (%rsi)
  fld1
  movq $0, 8(%rsi)
  fdivl 8(%rsi)
  fxsave64 0x100(%rsi)
  fnstenv 0x300(%rsi)
  fninit
)" EXIT);

namespace {

using testing::SystemGuest;
using namespace x86;

class Numeric : public ::testing::TestWithParam<bool> {
 protected:
  Numeric() : g(SoftOptions{.precise_flags = GetParam()}) {
    s = SystemGuest::kernel();
    s.gpr[RSI] = SystemGuest::data_at;
    s.xsave[512] = 3;
    for (unsigned i = 1; i < 16; ++i) s.gpr[i] = i == RSP || i == RSI ? s.gpr[i] : 0;
    s.gpr[RAX] = 0x1234;
  }
  void expect(const testing::GuestCode& code, int vector, u64 rip) {
    g.code(code);
    // Twice: the second time the operand is in the inline TLB. Then one instruction at a time.
    for (int round = 0; round < 3; ++round) {
      s.dr7 = round == 2 ? 0x401 : 0x400;
      out = g.go(s);
      EXPECT_EQ(g.vector, vector);
      EXPECT_EQ(g.frame(out).rip, SystemGuest::code_at + rip);
      EXPECT_TRUE(g.frame(out).flags & 0x10000);
    }
  }
  SystemGuest g;
  CpuState s, out;
};

TEST_P(Numeric, DivideErrors) {
  expect(div_zero, 0, 4);
  EXPECT_EQ(out.gpr[RAX], s.gpr[RAX]);
  EXPECT_EQ(g.frame(out).flags & 0x8d5, 0x45u);
  s.gpr[R10] = 3;
  expect(div_overflow, 0, 8);
  EXPECT_EQ(out.gpr[RDX], ~0ull);
  EXPECT_EQ(out.gpr[R10], 3u);
  expect(idiv_memory, 0, 1);
  EXPECT_EQ(g.frame(out).flags & 1, 1u);
  s.gpr[RCX] = 0x77;
  expect(div_high8, 0, 1);
  EXPECT_EQ(out.gpr[RCX], 0x77u);
}

TEST_P(Numeric, X87ExceptionsComeWithTheNextInstruction) {
  s.cr0 |= 0x20;
  expect(x87_unmasked, 16, 16);
  expect(x87_wait, 16, 17);
  EXPECT_TRUE(out.gpr[RAX] & 0x84);  // ZE and ES
  expect(x87_store, 16, 15);
  EXPECT_EQ(g.at(SystemGuest::data_at + 8), 0u);
}

TEST_P(Numeric, X87PointersTellNothingOfThisProcess) {
  s.cr0 |= 0x20;
  g.code(x87_pointers);
  out = g.go(s);
  ASSERT_EQ(g.vector, -1);
  const u64 data = SystemGuest::data_at;
  EXPECT_TRUE(g.at<u16>(data + 0x102) & 0x80) << "ES";
  EXPECT_LT(g.at(data + 0x108), SystemGuest::ram_size);
  EXPECT_LT(g.at(data + 0x110), SystemGuest::ram_size);
  EXPECT_LT(g.at<u32>(data + 0x30c), SystemGuest::ram_size);
  EXPECT_LT(g.at<u32>(data + 0x314), SystemGuest::ram_size);
}

TEST_P(Numeric, SimdExceptions) {
  s.cr4 |= 0x400;
  expect(simd_unmasked, 19, 24);
  double xmm2;
  std::memcpy(&xmm2, &out.xsave[160 + 32], 8);
  EXPECT_EQ(xmm2, 1.0);
  u32 mxcsr;
  std::memcpy(&mxcsr, &out.xsave[24], 4);
  EXPECT_EQ(mxcsr & 0x3f, 4u);
  const double operands[4] = {1, 2, 1, 0};
  std::memcpy(g.ram() + SystemGuest::data_at + 16, operands, 32);
  expect(simd_memory, 19, 13);
  // Across a page the operand is a copy; the exception is the same.
  s.gpr[RSI] = 0x302000 - 40;
  std::memcpy(g.ram() + s.gpr[RSI] + 16, operands, 32);
  s.gpr[RSI] = 0x302000 - 48;
  std::memcpy(g.ram() + s.gpr[RSI] + 16, operands, 32);
  expect(simd_memory, 19, 13);
}

// Without CR4.OSXMMEXCPT an unmasked SIMD exception is #UD.
TEST_P(Numeric, SimdExceptionsUnannounced) {
  s.cr4 &= ~0x400ull;
  expect(simd_unmasked, 6, 24);
}

TEST_P(Numeric, Alignment) {
  expect(movaps_odd, 13, 1);
  EXPECT_EQ(g.frame(out).code, 0u);
  expect(vmovdqa_odd, 13, 1);
  expect(cmpxchg16_odd, 13, 1);
  expect(mxcsr_reserved, 13, 6);
  EXPECT_EQ(g.frame(out).code, 0u);
}

INSTANTIATE_TEST_SUITE_P(Flags, Numeric, ::testing::Bool(), [](const auto& p) { return p.param ? "Precise" : "Fast"; });

}  // namespace
}  // namespace nagaya::engine::soft
