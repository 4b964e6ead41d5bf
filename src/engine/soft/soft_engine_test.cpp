#include <gtest/gtest.h>

#include "engine/soft/mini_guest_test_util.hpp"

namespace nagaya::engine::soft {
namespace {

using testing::MiniGuest;
using namespace x86;

#define EXIT 0xe6, 0xf4  // out 0xf4, al

TEST(SoftEngine, RegistersAndArithmetic) {
  MiniGuest g;
  ASSERT_TRUE(g.ok());
  g.code({0x48, 0x01, 0xd8,                    // add rax, rbx
          0x48, 0xff, 0xc1,                    // inc rcx
          0x4d, 0x01, 0xda,                    // add r10, r11
          0x49, 0xd3, 0xe2,                    // shl r10, cl
          EXIT});
  auto s = MiniGuest::long_mode();
  s.gpr[RAX] = 5, s.gpr[RBX] = 7, s.gpr[RCX] = 1, s.gpr[R10] = 100, s.gpr[R11] = 23;
  const auto out = g.run(s);
  EXPECT_EQ(g.last_exit.reason, ExitReason::kicked);
  EXPECT_EQ(out.gpr[RAX], 12u);
  EXPECT_EQ(out.gpr[RCX], 2u);
  EXPECT_EQ(out.gpr[R10], 123u << 2);
  EXPECT_EQ(out.rip, MiniGuest::code_at + 14);
}

TEST(SoftEngine, LoopMemoryAndStack) {
  MiniGuest g;
  ASSERT_TRUE(g.ok());
  g.code({0x48, 0xc7, 0xc1, 0x64, 0, 0, 0,     // mov rcx, 100
          0x31, 0xc0,                          // xor eax, eax
          0xbe, 0, 0, 0x10, 0,                 // mov esi, data
          0x48, 0x89, 0x0c, 0xce,              // l: mov [rsi+rcx*8], rcx
          0x48, 0x03, 0x04, 0xce,              // add rax, [rsi+rcx*8]
          0x50, 0x5b,                          // push rax; pop rbx
          0xff, 0xc9,                          // dec ecx
          0x75, 0xf2,                          // jnz l
          0xe8, 2, 0, 0, 0,                    // call f
          EXIT,
          0x41, 0xbb, 0x2a, 0, 0, 0,           // f: mov r11d, 42
          0xc3});
  const auto out = g.run(MiniGuest::long_mode());
  EXPECT_EQ(out.gpr[RAX], 5050u);
  EXPECT_EQ(out.gpr[RBX], 5050u);
  EXPECT_EQ(out.gpr[R11], 42u);
  EXPECT_EQ(out.gpr[RSP], MiniGuest::stack_top);
}

TEST(SoftEngine, PageCrossingAndMmio) {
  MiniGuest g;
  ASSERT_TRUE(g.ok());
  g.code({0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8,               // mov rax, imm64
          0x48, 0xa3, 0xfd, 0x0f, 0x10, 0, 0, 0, 0, 0,      // mov [0x100ffd], rax
          0x48, 0x8b, 0x1c, 0x25, 0xfd, 0x0f, 0x10, 0,      // mov rbx, [0x100ffd]
          0x8b, 0x14, 0x25, 0x10, 0, 0, 0x20,               // mov edx, [0x20000010] (MMIO)
          0x89, 0x04, 0x25, 0x20, 0, 0, 0x20,               // mov [0x20000020], eax
          EXIT});
  const auto out = g.run(MiniGuest::long_mode());
  EXPECT_EQ(out.gpr[RBX], 0x0807060504030201u);
  EXPECT_EQ(out.gpr[RDX], 0x13121110u);
  EXPECT_EQ(g.mmio_address, 0x20000020u);
  EXPECT_EQ(g.mmio_data, (std::vector<u8>{1, 2, 3, 4}));
}

TEST(SoftEngine, SelfModifyingNextInstruction) {
  MiniGuest g;
  ASSERT_TRUE(g.ok());
  g.code({0xc6, 0x05, 1, 0, 0, 0, 0x05,        // mov byte [rip+1], 5  → changes the immediate below
          0xb0, 0x01,                          // mov al, 1
          EXIT});
  const auto out = g.run(MiniGuest::long_mode());
  EXPECT_EQ(out.gpr[RAX] & 0xff, 5u);
}

TEST(SoftEngine, TripleFaultIsAShutdown) {
  MiniGuest g;
  ASSERT_TRUE(g.ok());
  g.code({0x0f, 0x0b});  // ud2, and no IDT
  auto s = MiniGuest::long_mode();
  s.idtr = {0, 0};
  g.run(s);
  EXPECT_EQ(g.last_exit.reason, ExitReason::shutdown);
}

}  // namespace
}  // namespace nagaya::engine::soft
