// System instructions emitted in place (translate_system.cpp) against the same ones executed by C++: with blocks of one instruction
// every one of them is a call.
#include <gtest/gtest.h>

#include <random>

#include "engine/soft/system_guest_test_util.hpp"

namespace nagaya::engine::soft {
namespace {

using testing::OneVectorApic;
using testing::SystemGuest;

struct Form {
  const char* name;
  std::vector<u8> bytes;
};

const Form forms[] = {
    {"cli", {0xfa}}, {"sti", {0xfb}}, {"cld", {0xfc}}, {"pushfq", {0x9c}}, {"pushfw", {0x66, 0x9c}}, {"swapgs", {0x0f, 0x01, 0xf8}},
    {"rdfsbase rdx", {0xf3, 0x48, 0x0f, 0xae, 0xc2}}, {"rdfsbase ecx", {0xf3, 0x0f, 0xae, 0xc1}},
    {"rdgsbase r10", {0xf3, 0x49, 0x0f, 0xae, 0xca}}, {"wrfsbase rbx", {0xf3, 0x48, 0x0f, 0xae, 0xd3}},
    {"wrfsbase r11d", {0xf3, 0x41, 0x0f, 0xae, 0xd3}}, {"wrgsbase rcx", {0xf3, 0x48, 0x0f, 0xae, 0xd9}},
    {"mov eax, cs", {0x8c, 0xc8}}, {"mov rcx, ss", {0x48, 0x8c, 0xd1}}, {"mov r11d, ds", {0x41, 0x8c, 0xdb}}, {"mov bx, ss", {0x66, 0x8c, 0xd3}},
    {"mov rdx, cr0", {0x0f, 0x20, 0xc2}}, {"mov rcx, cr2", {0x0f, 0x20, 0xd1}}, {"mov r10, cr3", {0x41, 0x0f, 0x20, 0xda}},
    {"mov rax, cr4", {0x0f, 0x20, 0xe0}},
};

/// The state after it, and what it and an exception wrote to the stacks.
struct Outcome {
  x86::CpuState state;
  int vector;
  std::vector<u8> stack, stack0;
};

Outcome run(SystemGuest& guest, const x86::CpuState& state) {
  std::memset(guest.ram() + SystemGuest::stack_top - 64, 0, 64);
  std::memset(guest.ram() + SystemGuest::ring0_stack - 64, 0, 64);
  Outcome out{guest.go(state), guest.vector, {}, {}};
  out.stack.assign(guest.ram() + SystemGuest::stack_top - 64, guest.ram() + SystemGuest::stack_top);
  out.stack0.assign(guest.ram() + SystemGuest::ring0_stack - 64, guest.ram() + SystemGuest::ring0_stack);
  return out;
}

void expect_same(const Outcome& a, const Outcome& b) {
  EXPECT_EQ(a.vector, b.vector);
  EXPECT_EQ(a.state.rip, b.state.rip);
  EXPECT_EQ(a.state.rflags, b.state.rflags);
  EXPECT_EQ(a.state.gpr, b.state.gpr);
  EXPECT_EQ(a.state.seg, b.state.seg);
  EXPECT_EQ(a.state.msr.kernel_gs_base, b.state.msr.kernel_gs_base);
  EXPECT_EQ(a.state.cr0, b.state.cr0);
  EXPECT_EQ(a.state.cr4, b.state.cr4);
  EXPECT_EQ(a.state.events, b.state.events);
  EXPECT_EQ(a.stack, b.stack);
  EXPECT_EQ(a.stack0, b.stack0);
}

x86::CpuState at_ring(unsigned ring) {
  x86::CpuState s = ring == 3 ? SystemGuest::user() : SystemGuest::kernel();
  if (ring == 1 || ring == 2) {
    s.seg[x86::CS].attr |= static_cast<u16>(ring << 5);
    s.seg[x86::SS].attr |= static_cast<u16>(ring << 5);
    s.seg[x86::CS].selector |= static_cast<u16>(ring);
  }
  return s;
}

SoftOptions single(bool precise) {
  SoftOptions o;
  o.max_block_insns = 1;
  o.precise_flags = precise;
  return o;
}

TEST(SystemInline, EqualsTheCall) {
  std::mt19937_64 random(7);
  for (const bool precise : {false, true}) {
    SoftOptions whole;
    whole.precise_flags = precise;
    SystemGuest fast(whole), slow(single(precise));
    ASSERT_TRUE(fast.ok() && slow.ok());
    for (const Form& form : forms) {
      for (const bool reads_flags : {true, false}) {
        std::vector<u8> code = form.bytes;
        if (reads_flags) {
          code.insert(code.end(), {0x0f, 0x92, 0xc0, 0x41, 0x0f, 0x90, 0xc1, 0x41, 0x0f, 0x9a, 0xc0});  // setc al; seto r9b; setp r8b
        } else {
          code.insert(code.end(), {0x48, 0x01, 0xf7});  // add rdi, rsi
        }
        code.insert(code.end(), {0xe6, 0xf4, 0xf4});  // out 0f4h, al; hlt
        fast.code(code);
        slow.code(code);
        for (unsigned i = 0; i < 64; ++i) {
          x86::CpuState s = at_ring(i & 3);
          for (unsigned r = 0; r < 16; ++r)
            if (r != x86::RSP) s.gpr[r] = random();
          if (i & 4) s.gpr[x86::RBX] = s.gpr[x86::RCX] = static_cast<u64>(static_cast<i64>(random()) >> 17);  // canonical
          s.rflags = (random() & 0x6ed5) | 2 | (random() & 1 ? 0x3000 : 0);
          if (random() & 1) s.rflags |= 1 << 21;
          if (i & 8) s.cr4 |= 1 << 16;
          s.seg[x86::FS].base = random();
          s.seg[x86::GS].base = random();
          s.msr.kernel_gs_base = random();
          s.cr2 = random();
          SCOPED_TRACE(::testing::Message() << form.name << " ring " << (i & 3) << " flags " << s.rflags << " cr4 " << s.cr4);
          expect_same(run(fast, s), run(slow, s));
        }
        if (HasFailure()) return;
      }
    }
  }
}

TEST(SystemInline, TimeStampCounter) {
  // rdtsc; shl rdx, 32; or rax, rdx; mov rbx, rax; rdtscp; shl rdx, 32; or rax, rdx; out 0f4h, al; hlt
  const std::vector<u8> code = {0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0x48, 0x89, 0xc3, 0x0f, 0x01, 0xf9,
                                0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0xe6, 0xf4, 0xf4};
  SystemGuest guest;
  guest.code(code);
  for (const bool forbidden : {false, true}) {
    for (const unsigned ring : {0u, 3u}) {
      x86::CpuState s = at_ring(ring);
      s.rflags |= 0x3000;
      s.msr.tsc = u64{7} << 40;
      s.msr.tsc_aux = 0x12345;
      s.gpr[x86::RCX] = ~u64{0};
      if (forbidden) s.cr4 |= 4;
      const x86::CpuState end = guest.go(s);
      if (forbidden && ring == 3) {
        EXPECT_EQ(guest.vector, 13);
        continue;
      }
      EXPECT_EQ(guest.vector, -1);
      EXPECT_EQ(end.gpr[x86::RBX] >> 36, u64{7} << 4);
      EXPECT_GE(end.gpr[x86::RAX], end.gpr[x86::RBX]);
      EXPECT_EQ(end.gpr[x86::RCX], 0x12345u);
      EXPECT_LE(end.gpr[x86::RAX], end.msr.tsc);
    }
  }
}

// The interrupt comes after the instruction behind STI, not before and not later.
TEST(SystemInline, InterruptAfterTheShadow) {
  for (const unsigned longest : {1u, 48u}) {
    OneVectorApic apic;
    SoftOptions options;
    options.max_block_insns = longest;
    SystemGuest guest(options, &apic);
    guest.code({0xfb, 0xff, 0xc3, 0xff, 0xc3, 0xff, 0xc3, 0xe6, 0xf4, 0xf4});  // sti; inc ebx (three times); out; hlt
    guest.gate(30, SystemGuest::stubs_at + 30 * 16);
    x86::CpuState s = SystemGuest::kernel();
    for (int times = 0; times < 2; ++times) {
      apic.vector = 30;
      const x86::CpuState end = guest.go(s);
      EXPECT_EQ(guest.vector, 30);
      EXPECT_EQ(end.gpr[x86::RBX], 1u);
      EXPECT_EQ(guest.frame(end).rip, SystemGuest::code_at + 3);
    }
    apic.vector = -1;
    EXPECT_EQ(guest.go(s).gpr[x86::RBX], 3u);
  }
}

}  // namespace
}  // namespace nagaya::engine::soft
