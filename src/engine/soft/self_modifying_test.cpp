// Code that changes while it runs, by every road a change can take. Each guest leaves in registers what it saw; stale
// translations would leave the old values. Intel SDM vol. 3, 12.6, asks no more of one processor than a jump: the engine, like
// today's processors, does not ask even for that.
#include <gtest/gtest.h>

#include "engine/soft/self_modifying_test_util.hpp"

namespace nagaya::engine::soft {

NAGAYA_GUEST_CODE(smc_later, R"(
  movb $7, 3f+1(%rip)
  nop
  mov %rax, %rbx
  nop
3: mov $1, %cl
)" EXIT);

NAGAYA_GUEST_CODE(smc_earlier, R"(
  xor %eax, %eax
  mov $3, %ecx
2: mov $1, %dl
  add %dl, %al
  incb 2b+1(%rip)
  dec %ecx
  jnz 2b
)" EXIT);

NAGAYA_GUEST_CODE(smc_locked, R"(
  xor %eax, %eax
  mov $5, %ecx
2: mov $1, %dl
  add %dl, %al
  lock incb 2b+1(%rip)
  dec %ecx
  jnz 2b
  mov $0x40, %ebx
  lock xadd %bl, 3f+1(%rip)
3: mov $2, %dh
)" EXIT);

NAGAYA_GUEST_CODE(smc_other_block, R"(
  call 4f
  mov %eax, %ebx
  movl $0x22222222, 4f+1(%rip)
  call 4f
  mov %eax, %ecx
  mov $0x33333333, %edx
  mov %edx, 4f+1(%rip)
  jmp 2f
2: call 4f
)" EXIT R"(
4: mov $0x11111111, %eax
  ret
)");

// RSI: address to call, RDI: address to write the immediate through.
NAGAYA_GUEST_CODE(smc_by_pointer, R"(
  xor %r8d, %r8d
  mov $4, %ecx
2: call *%rsi
  add %eax, %r8d
  incl 1(%rdi)
  dec %ecx
  jnz 2b
)" EXIT);
NAGAYA_GUEST_CODE(smc_function, "mov $1, %eax\n ret\n");

NAGAYA_GUEST_CODE(smc_rep_movs, R"(
  lea 5f(%rip), %rsi
  lea 3f(%rip), %rdi
  mov $2, %ecx
  rep movsb
3: mov $1, %al
  lea 4f+1(%rip), %rdi
  mov $4, %ecx
  mov $0x55, %al
  rep stosb
4: mov $0, %ebx
)" EXIT "5: mov $9, %dl\n");

NAGAYA_GUEST_CODE(smc_rep_backwards, R"(
  lea 3f+1(%rip), %rdi
  mov $1, %ecx
  mov $0x66, %al
  std
  rep stosb
  cld
3: mov $0, %bl
  lea 4f+1(%rip), %rdi
  mov $0x5a, %al
  stosb
4: mov $0, %bh
)" EXIT);

// The pushed bytes are `mov $77h, %cl; nop…`.
NAGAYA_GUEST_CODE(smc_push, R"(
  mov %rsp, %rdx
  movabs $0x90909090909077b1, %rax
  lea 3f+8(%rip), %rsp
  push %rax
3: .fill 8, 1, 0x90
  mov %rdx, %rsp
)" EXIT);

// The return address 100B8h is `mov $100h, %eax` and, with the byte after it, two additions.
NAGAYA_GUEST_CODE(smc_call, R"(
2: lea 4f+8(%rip), %rsp
  .fill 0xb3 - (. - 2b), 1, 0x90
  call 4f
  .fill 32, 1, 0xcc
4: .fill 8, 1, 0xcc
  .byte 0xc0
)" EXIT);

NAGAYA_GUEST_CODE(smc_device, R"(
  mov $0, %ecx
2: out %al, $0x10
3: mov $1, %bl
  add %bl, %cl
  cmp $6, %cl
  jb 2b
)" EXIT);

// Page 1 ends within `mov $imm32, %eax`, whose immediate and RET are on page 2. RDI points at the immediate, RBX at the PTE of
// page 2, RDX holds its second value.
NAGAYA_GUEST_CODE(smc_crossing, R"(
  call *%rsi
  mov %eax, %r8d
  movl $0x22222222, (%rdi)
  call *%rsi
  mov %eax, %r9d
  movb $0x77, 3(%rdi)
  call *%rsi
  mov %eax, %r10d
  mov %rdx, (%rbx)
  invlpg (%rdi)
  call *%rsi
  mov %eax, %r11d
)" EXIT);

// Waits for its turn and calls; one processor writes, the other executes. RSI: function, RDI: {turn, done}, RCX: rounds.
NAGAYA_GUEST_CODE(smc_caller, SMC_CALLER("call *%rsi"));
NAGAYA_GUEST_CODE(smc_writer, SMC_WRITER("20"));

namespace {

using testing::SystemGuest;
using namespace x86;

x86::CpuState run(SystemGuest& g, const testing::GuestCode& code) {
  g.code(code);
  const auto out = g.go(SystemGuest::kernel());
  EXPECT_EQ(g.vector, -1);
  EXPECT_EQ(g.last_exit.reason, ExitReason::kicked);
  return out;
}

TEST(SelfModifying, LaterInTheSameBlock) {
  SystemGuest g;
  EXPECT_EQ(run(g, smc_later).gpr[RCX], 7u);
}

TEST(SelfModifying, EarlierInALoop) {
  SystemGuest g;
  EXPECT_EQ(run(g, smc_earlier).gpr[RAX], 6u);
}

TEST(SelfModifying, ByLockedInstructions) {
  SystemGuest g;
  const auto out = run(g, smc_locked);
  EXPECT_EQ(out.gpr[RAX], 15u);
  EXPECT_EQ(out.gpr[RBX], 2u);
  EXPECT_EQ(out.gpr[RDX] >> 8 & 0xff, 0x42u);
}

TEST(SelfModifying, AnotherBlock) {
  SystemGuest g;
  const auto out = run(g, smc_other_block);
  EXPECT_EQ(out.gpr[RBX], 0x11111111u);
  EXPECT_EQ(out.gpr[RCX], 0x22222222u);
  EXPECT_EQ(out.gpr[RAX], 0x33333333u);
}

TEST(SelfModifying, AnotherPage) {
  SystemGuest g;
  g.code(smc_by_pointer);
  g.code(smc_function, 0x20000);
  auto s = SystemGuest::kernel();
  s.gpr[RSI] = s.gpr[RDI] = 0x20000;
  EXPECT_EQ(g.go(s).gpr[R8], 10u);
}

TEST(SelfModifying, ThroughAnAlias) {
  SystemGuest g;
  g.code(smc_by_pointer);
  g.code(smc_function, 0x20000);
  g.pte(0x700000) = 0x20007;
  auto s = SystemGuest::kernel();
  s.gpr[RSI] = 0x20000, s.gpr[RDI] = 0x700000;
  EXPECT_EQ(g.go(s).gpr[R8], 10u);
  // Called through the alias, written at home: the same translation under another address.
  s.gpr[RSI] = 0x700000, s.gpr[RDI] = 0x20000;
  EXPECT_EQ(g.go(s).gpr[R8], 26u);
}

TEST(SelfModifying, ByStringInstructions) {
  SystemGuest g;
  const auto out = run(g, smc_rep_movs);
  EXPECT_EQ(out.gpr[RDX] & 0xff, 9u);
  EXPECT_EQ(out.gpr[RBX], 0x55555555u);
  const auto back = run(g, smc_rep_backwards);
  EXPECT_EQ(back.gpr[RBX], 0x5a66u);
}

TEST(SelfModifying, ByPush) {
  SystemGuest g;
  EXPECT_EQ(run(g, smc_push).gpr[RCX], 0x77u);
}

TEST(SelfModifying, ByCallOntoItsTarget) {
  SystemGuest g;
  const auto out = run(g, smc_call);
  EXPECT_EQ(out.gpr[RAX], 0x100u);
  EXPECT_EQ(g.at<u8>(0x100), 0u);
}

class DeviceWriter : public SystemGuest {
 public:
  void port_write(u16 port, std::span<const u8> data) override {
    if (port != 0x10) return SystemGuest::port_write(port, data);
    const u64 immediate = code_at + 5 + 2 + 1;
    at<u8>(immediate) = ++value;
    engine().memory_written(Gpa(immediate), 1);
  }
  u8 value = 0;
};

TEST(SelfModifying, ByADevice) {
  DeviceWriter g;
  g.code(smc_device);
  const auto out = g.go(SystemGuest::kernel());
  EXPECT_EQ(out.gpr[RCX], 6u);  // 1 + 2 + 3
  EXPECT_EQ(g.value, 3u);
}

TEST(SelfModifying, CrossingInstruction) {
  for (const bool step : {false, true}) {
    SystemGuest g;
    g.code(smc_crossing);
    const u8 function[] = {0xb8, 0x11, 0x11, 0x11, 0x11, 0xc3};
    const u64 start = 0x21000 - 1;
    std::memcpy(g.ram() + start, function, sizeof function);
    std::memcpy(g.ram() + 0x26000, function + 1, 5);
    g.at<u32>(0x26000) = 0x44444444;
    auto s = SystemGuest::kernel();
    if (step) s.dr7 = 0x401, s.dr[0] = 0x1;  // a breakpoint somewhere: one instruction at a time
    s.gpr[RSI] = start, s.gpr[RDI] = 0x21000, s.gpr[RDX] = 0x26007;
    s.gpr[RBX] = 0x4000 + 0x21 * 8;
    const auto out = g.go(s);
    EXPECT_EQ(g.vector, -1);
    EXPECT_EQ(out.gpr[R8], 0x11111111u);
    EXPECT_EQ(out.gpr[R9], 0x22222222u);
    EXPECT_EQ(out.gpr[R10], 0x77222222u);
    EXPECT_EQ(out.gpr[R11], 0x44444444u);
  }
}

// One physical page after itself: the instruction's end is at the start of the page it begins on.
TEST(SelfModifying, CrossingInstructionOnOnePhysicalPage) {
  SystemGuest g;
  g.code(smc_crossing);
  g.pte(0x700000) = 0x20007;
  g.pte(0x701000) = 0x20007;
  g.at<u8>(0x20fff) = 0xb8;
  const u8 rest[] = {0x11, 0x11, 0x11, 0x11, 0xc3};
  std::memcpy(g.ram() + 0x20000, rest, sizeof rest);
  auto s = SystemGuest::kernel();
  s.gpr[RSI] = 0x700fff, s.gpr[RDI] = 0x701000, s.gpr[RBX] = 0x4000 + 0x3 * 0x1000 + 0x101 * 8, s.gpr[RDX] = 0x20007;
  const auto out = g.go(s);
  EXPECT_EQ(g.vector, -1);
  EXPECT_EQ(out.gpr[R8], 0x11111111u);
  EXPECT_EQ(out.gpr[R9], 0x22222222u);
  EXPECT_EQ(out.gpr[R11], 0x77222222u);
}

TEST(SelfModifying, ByAnotherProcessor) {
  SystemGuest g;
  g.code(smc_caller);
  g.code(smc_writer, SystemGuest::code2_at);
  g.code(smc_function, 0x20000);
  constexpr u32 rounds = 3000;
  auto s = SystemGuest::kernel();
  s.gpr[RSI] = 0x20000, s.gpr[RDI] = SystemGuest::data_at, s.gpr[RCX] = rounds;
  auto w = s;
  w.rip = SystemGuest::code2_at;
  w.gpr[RSP] = 0x60000;
  testing::run_both(g, s, w);
}

}  // namespace
}  // namespace nagaya::engine::soft
