// Two operands of one instruction whose pages share a set of the direct-mapped inline TLB.
#include <gtest/gtest.h>

#include "engine/soft/cpu.hpp"
#include "engine/soft/mini_guest_test_util.hpp"

namespace nagaya::engine::soft {
namespace {

using testing::MiniGuest;
using namespace x86;

/// The same RAM again, a whole TLB further up.
constexpr u64 alias = u64{tlb_entries} << 12;

struct ConflictGuest : MiniGuest {
  ConflictGuest() { std::memcpy(ram() + 0x3000 + (alias >> 21) * 8, ram() + 0x3000, 32); }
};

CpuState start() {
  auto s = MiniGuest::long_mode();
  s.gpr[RCX] = 1000;
  s.gpr[RSI] = MiniGuest::stack_top - 256 + alias;
  s.gpr[RAX] = s.gpr[RBX] = 0;
  return s;
}

TEST(TlbConflict, PushFromMemory) {
  ConflictGuest g;
  ASSERT_TRUE(g.ok());
  g.code({0xff, 0x36,              // l: push [rsi]
          0x58,                    // pop rax
          0x48, 0x01, 0xc3,        // add rbx, rax
          0xff, 0xc9, 0x75, 0xf6,  // dec ecx; jnz l
          0xe6, 0xf4});
  g.ram()[MiniGuest::stack_top - 256] = 3;
  const auto out = g.run(start());
  EXPECT_EQ(out.gpr[RBX], 3000u);
  EXPECT_EQ(out.gpr[RSP], MiniGuest::stack_top);
}

TEST(TlbConflict, PopToMemory) {
  ConflictGuest g;
  ASSERT_TRUE(g.ok());
  g.code({0x51,                    // l: push rcx
          0x8f, 0x06,              // pop [rsi]
          0x48, 0x03, 0x1e,        // add rbx, [rsi]
          0xff, 0xc9, 0x75, 0xf6,  // dec ecx; jnz l
          0xe6, 0xf4});
  const auto out = g.run(start());
  EXPECT_EQ(out.gpr[RBX], 500500u);
  EXPECT_EQ(out.gpr[RSP], MiniGuest::stack_top);
}

TEST(TlbConflict, CallThroughMemory) {
  ConflictGuest g;
  ASSERT_TRUE(g.ok());
  g.code({0xff, 0x16,              // l: call [rsi]
          0xff, 0xc9, 0x75, 0xfa,  // dec ecx; jnz l
          0xe6, 0xf4,
          0x48, 0xff, 0xc3,        // f: inc rbx
          0xc3});
  const u64 function = MiniGuest::code_at + 8;
  std::memcpy(g.ram() + MiniGuest::stack_top - 256, &function, 8);
  const auto out = g.run(start());
  EXPECT_EQ(out.gpr[RBX], 1000u);
  EXPECT_EQ(out.gpr[RSP], MiniGuest::stack_top);
}

}  // namespace
}  // namespace nagaya::engine::soft
