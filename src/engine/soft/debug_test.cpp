// Single step, breakpoints on instructions, data and ports, and what they leave in DR6. Intel SDM vol. 3, 18.2, 18.3.
#include <gtest/gtest.h>

#include "engine/soft/system_guest_test_util.hpp"

namespace nagaya::engine::soft {

#define EXIT "out %al, $0xf4\n"

// #DB handler: appends {RIP, flags of the frame, DR6} at [R15], clears DR6. RF is set in the frame when R14 is not 0.
NAGAYA_GUEST_CODE(debug_handler, R"(
  push %rax
  mov 8(%rsp), %rax
  mov %rax, (%r15)
  mov 24(%rsp), %rax
  mov %rax, 8(%r15)
  mov %dr6, %rax
  mov %rax, 16(%r15)
  mov $0xffff0ff0, %eax
  mov %rax, %dr6
  add $24, %r15
  test %r14, %r14
  jz 2f
  orl $0x10000, 24(%rsp)
2: pop %rax
  iretq
)");

NAGAYA_GUEST_CODE(step_basic, R"(
  pushfq
  orl $0x100, (%rsp)
  popfq
  nop
  mov $2, %ecx
2: dec %ecx
  jnz 2b
  call 3f
  pushfq
  andl $0xfffffeff, (%rsp)
  popfq
  nop
)" EXIT "3: ret\n");

NAGAYA_GUEST_CODE(step_rep, R"(
  pushfq
  orl $0x100, (%rsp)
  popfq
  rep stosb
  mov %ebx, %ebx
  pushfq
  andl $0xfffffeff, (%rsp)
  popfq
)" EXIT);

NAGAYA_GUEST_CODE(step_iret, R"(
  push $0x10
  push $0x80000
  push $0x102
  push $0x8
  lea 2f(%rip), %rax
  push %rax
  iretq
  nop
2: nop
  int $0x40
  nop
)" EXIT);
NAGAYA_GUEST_CODE(plain_iret, "nop\n iretq\n");

NAGAYA_GUEST_CODE(step_syscall, R"(
  syscall
  nop
)" EXIT);
NAGAYA_GUEST_CODE(syscall_target, "nop\n nop\n" EXIT);

NAGAYA_GUEST_CODE(step_mov_ss, R"(
  mov $0x10, %eax
  pushfq
  orl $0x100, (%rsp)
  popfq
  mov %eax, %ss
  nop
  mov %eax, %ss
  mov %eax, %ss
  nop
  nop
)" EXIT);

NAGAYA_GUEST_CODE(step_hlt, "nop\n hlt\n nop\n" EXIT);

NAGAYA_GUEST_CODE(break_loop, R"(
  mov $3, %ecx
2: nop
  dec %ecx
  jnz 2b
  nop
)" EXIT);

NAGAYA_GUEST_CODE(break_rep, "rep movsb\n nop\n" EXIT);

NAGAYA_GUEST_CODE(data_accesses, R"(
  mov %eax, (%rsi)
  mov (%rsi), %ebx
  lock incb 3(%rsi)
  mov %al, 4(%rsi)
  mov -2(%rsi), %ebx
  mov -4(%rsi), %ebx
  movups %xmm0, -15(%rsi)
  movups %xmm0, -16(%rsi)
  pushq (%rsi)
  xchg %eax, (%rsi)
  fnstcw 2(%rsi)
  lea (%rsi), %rdx
  prefetcht0 (%rsi)
  sgdt -8(%rsi)
)" EXIT);

NAGAYA_GUEST_CODE(data_strings, R"(
  rep stosb
  nop
  lodsb
  nop
)" EXIT);

NAGAYA_GUEST_CODE(port_accesses, R"(
  out %al, $0x20
  in $0x21, %al
  in $0x22, %al
  mov $0x1f, %edx
  out %ax, %dx
  outsb
)" EXIT);

NAGAYA_GUEST_CODE(data_then_mov_ss, R"(
  mov (%rsi), %ss
  nop
  nop
)" EXIT);

NAGAYA_GUEST_CODE(general_detect, "mov %rax, %dr0\n nop\n" EXIT);
NAGAYA_GUEST_CODE(enable_watch, R"(
  mov %al, (%rsi)
  mov (%rsi), %bl
  mov %rsi, %dr1
  mov %rdi, %dr7
  mov %al, (%rsi)
  mov (%rsi), %bl
  xor %ecx, %ecx
  mov %rcx, %dr7
  mov %al, (%rsi)
)" EXIT);

namespace {

using testing::SystemGuest;
using namespace x86;

constexpr u64 handler_at = 0x28000, log_at = 0x200000, base = SystemGuest::code_at, bs = 0x4000, db_mask = 0xe00f;

struct Hit {
  u64 rip, flags, dr6;
};

class Debug : public ::testing::Test {
 protected:
  Debug() {
    g.code(debug_handler, handler_at);
    g.gate(1, handler_at);
    s = SystemGuest::kernel();
    s.gpr[R15] = log_at;
  }
  /// Runs and gives the handler's log; the trap after the last OUT is still pending then.
  std::vector<Hit> hits(const testing::GuestCode& code) {
    g.code(code);
    out = g.go(s);
    EXPECT_EQ(g.vector, -1);
    std::vector<Hit> list;
    for (u64 at = log_at; at < out.gpr[R15]; at += 24) list.push_back({g.at(at), g.at(at + 8), g.at(at + 16)});
    return list;
  }
  static std::vector<u64> rips(const std::vector<Hit>& list) {
    std::vector<u64> r;
    for (const Hit& h : list) r.push_back(h.rip - base);
    return r;
  }
  static std::vector<u64> bits(const std::vector<Hit>& list) {
    std::vector<u64> r;
    for (const Hit& h : list) r.push_back(h.dr6 & db_mask);
    return r;
  }
  SystemGuest g;
  CpuState s, out;
};

using List = std::vector<u64>;

TEST_F(Debug, StepsAcrossBranches) {
  const auto list = hits(step_basic);
  // POPF that sets TF is not trapped, the one that clears it is.
  EXPECT_EQ(rips(list), (List{10, 15, 17, 15, 17, 19, 36, 24, 25, 32, 33}));
  for (const Hit& h : list) EXPECT_EQ(h.dr6 & db_mask, bs);
}

TEST_F(Debug, StepsThroughStringIterations) {
  s.gpr[RDI] = 0x300000, s.gpr[RCX] = 3, s.gpr[RAX] = 7;
  const auto list = hits(step_rep);
  EXPECT_EQ(rips(list), (List{9, 9, 11, 13, 14, 21, 22}));
  EXPECT_TRUE(list[0].flags & 0x10000);  // between iterations
  EXPECT_FALSE(list[2].flags & 0x10000);
  EXPECT_EQ(g.at<u32>(0x300000), 0x070707u);
}

TEST_F(Debug, StepAfterIretAndNotIntoInterrupts) {
  g.code(plain_iret, 0x29000);
  g.gate(0x40, 0x29000);
  s.idtr.limit = 0xfff;
  const auto list = hits(step_iret);
  // IRET sets TF: the next instruction is the first that traps. INT n clears it before its handler; IRET there brings it back.
  EXPECT_EQ(rips(list), (List{26, 29}));
}

TEST_F(Debug, SyscallWithMaskedTrapFlag) {
  g.code(syscall_target, 0x29000);
  s.msr.lstar = 0x29000, s.msr.star = u64{SystemGuest::code64} << 32;
  s.rflags |= 0x100;
  s.msr.sfmask = 0x100;
  EXPECT_TRUE(hits(step_syscall).empty());
  s.msr.sfmask = 0;
  const auto list = hits(step_syscall);
  ASSERT_GE(list.size(), 2u);
  EXPECT_EQ(list[0].rip, 0x29000u);
  EXPECT_EQ(list[1].rip, 0x29001u);
}

TEST_F(Debug, MovSsHoldsTheTrapBack) {
  const auto list = hits(step_mov_ss);
  const u64 mov_ss = 14;
  // No trap after the first MOV SS; of two in a row the second does trap.
  EXPECT_EQ(rips(list), (List{mov_ss + 3, mov_ss + 7, mov_ss + 8, mov_ss + 9}));
}

TEST_F(Debug, HaltIsSteppedOver) {
  s.rflags |= 0x100;
  EXPECT_EQ(rips(hits(step_hlt)), (List{1, 2, 3}));
}

TEST_F(Debug, InstructionBreakpointsAndResumeFlag) {
  s.dr[0] = base + 5, s.dr[3] = base + 10, s.dr7 = 0x400 | 1 << 0 | 2 << 6;
  s.gpr[R14] = 1;  // the handler sets RF
  const auto list = hits(break_loop);
  EXPECT_EQ(rips(list), (List{5, 5, 5, 10}));
  EXPECT_EQ(bits(list), (List{1, 1, 1, 8}));
  for (const Hit& h : list) EXPECT_FALSE(h.flags & 0x10000);
}

TEST_F(Debug, BreakpointOnRepeatedStringIsMetOnce) {
  s.dr[1] = base, s.dr7 = 0x400 | 1 << 2;
  s.gpr[R14] = 1;
  s.gpr[RSI] = 0x300000, s.gpr[RDI] = 0x310000, s.gpr[RCX] = 3 * 4096;
  EXPECT_EQ(rips(hits(break_rep)), (List{0}));
}

constexpr u64 watch(unsigned i, u64 condition, u64 length) {
  return u64{1} << (2 * i) | condition << (16 + 4 * i) | length << (18 + 4 * i);
}

TEST_F(Debug, DataBreakpoints) {
  const u64 cell = 0x300800;
  s.gpr[RSI] = cell;
  s.dr[0] = cell, s.dr[2] = cell;
  s.dr7 = 0x400 | watch(0, 1, 3) | watch(2, 3, 3);  // 4 bytes: written; accessed
  const auto list = hits(data_accesses);
  // In order: store, load, locked increment (of the last byte), load that reaches in, both vector stores' reach, push, xchg,
  // FNSTCW, SGDT.
  const List expected_bits = {5, 4, 5, 4, 5, 4, 5, 5, 5};
  EXPECT_EQ(bits(list), expected_bits);
  const List expected_rips = {2, 4, 8, 14, 21, 27, 29, 32, 42};
  EXPECT_EQ(rips(list), expected_rips);
}

TEST_F(Debug, DataBreakpointsAcrossPagesAndInStrings) {
  s.dr[1] = 0x301001, s.dr7 = 0x400 | watch(1, 1, 0);
  s.gpr[RDI] = 0x300ffe, s.gpr[RCX] = 6, s.gpr[RSI] = 0x301001;
  const auto list = hits(data_strings);
  EXPECT_EQ(rips(list), (List{0}));  // after the fourth of six iterations; LODS does not write
  EXPECT_EQ(bits(list), (List{2}));
  EXPECT_TRUE(list[0].flags & 0x10000);
  s.dr7 = 0x400 | watch(1, 3, 0);
  EXPECT_EQ(rips(hits(data_strings)), (List{0, 4}));
}

TEST_F(Debug, PortBreakpoints) {
  s.cr4 |= 8;  // DE
  s.dr[3] = 0x20, s.dr7 = 0x400 | watch(3, 2, 1);  // ports 20h and 21h
  s.gpr[RSI] = 0x300000;
  EXPECT_EQ(rips(hits(port_accesses)), (List{2, 4, 13}));
  s.cr4 &= ~8ull;
  EXPECT_TRUE(hits(port_accesses).empty());
}

TEST_F(Debug, DataBreakpointOnMovSsWaits) {
  g.at<u16>(0x300000) = 0x10;
  s.gpr[RSI] = 0x300000;
  s.dr[0] = 0x300000, s.dr7 = 0x400 | watch(0, 3, 1);
  const auto list = hits(data_then_mov_ss);
  EXPECT_EQ(rips(list), (List{3}));
  EXPECT_EQ(bits(list), (List{1}));
}

TEST_F(Debug, GeneralDetect) {
  s.dr7 = 0x2400;
  s.dr6 = 0xffff0ff0;
  g.gate(1, SystemGuest::stubs_at + 16);
  g.code(general_detect);
  const auto o = g.go(s);
  EXPECT_EQ(g.vector, 1);
  EXPECT_EQ(g.frame(o).rip, base);
  EXPECT_EQ(o.dr6 & db_mask, 0x2000u);
  EXPECT_EQ(o.dr7 & 0x2000, 0u);
}

// The page is hot in the inline TLB when the breakpoint comes and goes.
TEST_F(Debug, EnablingFindsPagesAlreadyInUse) {
  s.gpr[RSI] = 0x300123, s.gpr[RDI] = 0x400 | watch(1, 3, 0);
  EXPECT_EQ(bits(hits(enable_watch)), (List{2, 2}));
}

// A kick after each instruction, with the state taken out and put back: no trap is lost, none comes twice.
TEST_F(Debug, TrapsSurviveSaveAndRestore) {
  g.gate(1, SystemGuest::stubs_at + 16);
  g.code(step_hlt);
  s.rflags |= 0x100;
  auto now = s;
  List seen;
  for (int i = 0; i < 3; ++i) {
    g.vcpu().kick();
    (void)g.vcpu().set_state(now);
    while (g.vcpu().run().reason == ExitReason::kicked && g.vector < 0) {
      now = *g.vcpu().state();
      (void)g.vcpu().set_state(now);
    }
    now = *g.vcpu().state();
    ASSERT_EQ(g.vector, 1);
    EXPECT_EQ(now.dr6 & db_mask, bs);
    const auto f = g.frame(now);
    seen.push_back(f.rip - base);
    now.rip = f.rip, now.rflags = f.flags, now.gpr[RSP] = f.rsp;
    g.vector = -1;
  }
  EXPECT_EQ(seen, (List{1, 2, 3}));
}

}  // namespace
}  // namespace nagaya::engine::soft
