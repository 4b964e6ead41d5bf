// One guest through the modes of the processor and back: real, 16-bit protected, 32-bit, PAE, compatibility, 64-bit, and all the
// way down. And what depends on a mode's CS: one offset under several bases, the end of a segment.
#include <gtest/gtest.h>

#include "engine/soft/system_guest_test_util.hpp"

namespace nagaya::engine::soft {

// Assembled for code_at = 10000h, started in real mode with CS = 1000h. Each mode adds its digit to EAX.
NAGAYA_GUEST_CODE(all_modes, R"(
.set at, 0x10000
.code16
9:
  mov $0x1, %eax
  cli
  xor %bx, %bx
  mov %bx, %ds
  lgdtl %cs:(8f - 9b)
  mov %cr0, %ebx
  or $1, %bl
  mov %ebx, %cr0
  ljmpl $0x20, $(2f - 9b + at - 0x10000)   # 16-bit code of base 10000h
2:
  shl $4, %eax
  or $0x2, %al
  mov $0x10, %bx
  mov %bx, %ds
  mov %bx, %es
  mov %bx, %ss
  ljmpl $0x18, $(2f - 9b + at)
.code32
2:
  shl $4, %eax
  or $0x3, %al
  mov $0x90000, %esp
  push %eax
  pop %edx
  mov %cr4, %ebx          # 32-bit paging with 4 MiB pages
  or $0x10, %ebx
  mov %ebx, %cr4
  mov $0x50000, %ebx
  mov %ebx, %cr3
  mov %cr0, %ebx
  or $0x80000000, %ebx
  mov %ebx, %cr0
  shl $4, %eax
  or $0x4, %al
  add %eax, 0x400000      # alias of 0, by the tables
  mov %cr0, %ebx
  and $0x7fffffff, %ebx
  mov %ebx, %cr0
  mov %cr4, %ebx          # PAE
  or $0x20, %ebx
  mov %ebx, %cr4
  mov $0x51000, %ebx
  mov %ebx, %cr3
  mov %cr0, %ebx
  or $0x80000000, %ebx
  mov %ebx, %cr0
  shl $4, %eax
  or $0x5, %al
  add %eax, 0x200008
  mov %cr0, %ebx
  and $0x7fffffff, %ebx
  mov %ebx, %cr0
  mov $0x1000, %ebx       # long mode
  mov %ebx, %cr3
  mov %eax, %esi
  mov $0xc0000080, %ecx
  rdmsr
  or $0x100, %eax
  wrmsr
  mov %cr0, %ebx
  or $0x80000000, %ebx
  mov %ebx, %cr0
  mov %esi, %eax
  shl $4, %eax            # compatibility mode
  or $0x6, %al
  ljmp $0x08, $(2f - 9b + at)
.code64
2:
  mov %eax, %eax
  shl $4, %rax
  or $0x7, %al
  mov $0x123456789, %r8
  push %r8
  pop %r9
  add %rax, 0x300000
  sub $8, %rsp
  movl $(2f - 9b + at), (%rsp)
  movl $0x18, 4(%rsp)
  ljmp *(%rsp)
.code32
2:
  add $8, %esp            # down again: compatibility, 32-bit
  mov %cr0, %ebx
  and $0x7fffffff, %ebx
  mov %ebx, %cr0
  mov %eax, %esi
  mov $0xc0000080, %ecx
  rdmsr
  and $0xfffffeff, %eax
  wrmsr
  mov %esi, %eax
  xor $0x80000000, %eax
  mov %cr4, %ebx
  and $0xffffffcf, %ebx
  mov %ebx, %cr4
  ljmp $0x20, $(2f - 9b + at - 0x10000)
.code16
2:
  mov $0x28, %bx
  mov %bx, %ds
  mov %bx, %es
  mov %bx, %ss
  mov %cr0, %ebx
  and $0xfe, %bl
  mov %ebx, %cr0
  ljmp $0x1000, $(2f - 9b)
2:
  xor %bx, %bx
  mov %bx, %ss
  mov $0x7000, %sp
  mov %bx, %ds
  push %ax
  pop %bx
  mov %cs, %dx
  out %al, $0xf4
  .align 4
8: .word 87
  .long 0xe000
)");

// One IP under two segments: 1000h:0100h and 2000h:0100h each add and far-call the other.
NAGAYA_GUEST_CODE(segment_ping, R"(
.code16
  inc %ax
  cmp $100, %ax
  jae 2f
  ljmp $0x2000, $0x100
2: out %al, $0xf4
)");
NAGAYA_GUEST_CODE(segment_pong, R"(
.code16
  inc %bx
  ljmp $0x1000, $0x100
)");

namespace {

using testing::SystemGuest;
using namespace x86;

CpuState real_mode(u16 cs) {
  CpuState s = reset_state(true);
  s.cr0 = 0x10;
  for (auto& seg : s.seg) seg = {0, 0xffff, 0, 0x93, false};
  s.seg[CS] = {u64{cs} << 4, 0xffff, cs, 0x9b, false};
  s.idtr = {0, 0x3ff};
  s.rip = 0;
  s.gpr[RSP] = 0x7000;
  return s;
}

class Modes : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam()) stepping = 0x401;  // an unused breakpoint: one instruction at a time
  }
  SystemGuest g;
  u64 stepping = 0x400;
};

TEST_P(Modes, AllTheWayUpAndDown) {
  // GDT entry 20h: 16-bit code of base 10000h.
  g.at(SystemGuest::gdt_at + 0x20) = 0x00009b010000ffff;
  // 32-bit paging: 4 MiB pages; 400000h leads to 0.
  g.at<u32>(0x50000) = 0x87;
  g.at<u32>(0x50004) = 0x87;
  // PAE: PDPT at 51000h, PD at 52000h of 2 MiB pages; 200000h leads to 0.
  g.at(0x51000) = 0x52001;
  g.at(0x52000) = 0x87, g.at(0x52008) = 0x87;
  g.at<u64>(0) = 0, g.at<u64>(8) = 0;
  g.at(0x300000) = 0;
  g.code(all_modes);
  auto s = real_mode(0x1000);
  s.dr7 = stepping;
  const auto out = g.go(s);
  ASSERT_EQ(g.last_exit.reason, ExitReason::kicked);
  EXPECT_EQ(out.gpr[RAX], 0x81234567u);
  EXPECT_EQ(g.at<u32>(0), 0x1234u);
  EXPECT_EQ(g.at<u32>(8), 0x12345u);
  EXPECT_EQ(g.at(0x300000), 0x1234567u);
  EXPECT_EQ(out.gpr[R9], 0x123456789u);
  EXPECT_EQ(out.gpr[RBX] & 0xffff, 0x4567u);
  EXPECT_EQ(out.gpr[RDX] & 0xffff, 0x1000u);
  EXPECT_EQ(out.cr0 & 0x80000001, 0u);
  EXPECT_EQ(out.msr.efer, 0u);
}

TEST_P(Modes, OneOffsetUnderTwoSegments) {
  g.code(segment_ping, 0x10100);
  g.code(segment_pong, 0x20100);
  auto s = real_mode(0x1000);
  s.rip = 0x100;
  s.dr7 = stepping;
  const auto out = g.go(s);
  EXPECT_EQ(out.gpr[RAX] & 0xffff, 100u);
  EXPECT_EQ(out.gpr[RBX] & 0xffff, 99u);
}

// Code that runs into the end of its segment, which is within a page: #GP at the instruction beyond.
TEST_P(Modes, EndOfTheCodeSegment) {
  g.at<u16>(13 * 4) = 0x400, g.at<u16>(13 * 4 + 2) = 0x3000;  // #GP to 3000:0400
  const u8 handler[] = {0xe6, 0xf4};
  std::memcpy(g.ram() + 0x30400, handler, 2);
  auto s = real_mode(0x1001);  // base 10010h: the end is at 2000Fh
  std::memset(g.ram() + 0x20000, 0x40, 64);  // INC AX
  g.engine().memory_written(Gpa(0x20000), 64);
  s.rip = 0xfff8;
  s.gpr[RAX] = 0;
  s.dr7 = stepping;
  const auto out = g.go(s);
  EXPECT_EQ(out.gpr[RAX] & 0xffff, 8u);
  EXPECT_EQ(out.seg[CS].selector, 0x3000);
  EXPECT_EQ(g.at<u16>(out.gpr[RSP] & 0xffff), 0u);  // IP: 10000h does not fit
}

INSTANTIATE_TEST_SUITE_P(Speed, Modes, ::testing::Bool(), [](const auto& p) { return p.param ? "Stepping" : "Blocks"; });

}  // namespace
}  // namespace nagaya::engine::soft
