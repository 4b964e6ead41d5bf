// Self-modifying code in blocks that lead from page to page: a change must be seen by whoever comes by way of a link.
#include <gtest/gtest.h>

#include "engine/soft/self_modifying_test_util.hpp"

namespace nagaya::engine::soft {

// RCX rounds; when RCX & RBX is 0 the byte at (%rdi) becomes one larger.
#define ROUNDS "1: call 5f\n test %ebx, %ecx\n jnz 2f\n incb (%rdi)\n 2: dec %ecx\n jnz 1b\n" EXIT
#define PAGE(number) ".fill " #number " * 0x1000 - (. - 1b), 1, 0xcc\n"

// Four pages in a chain.
NAGAYA_GUEST_CODE(chain, ROUNDS PAGE(1) R"(
5: add $1, %r8d
  jmp 6f
)" PAGE(2) R"(
6: add $1, %r9d
  cmp %eax, %eax
  jz 7f
)" PAGE(3) R"(
7: add $1, %r10d
  ret
)");
// The changing instruction lies across the end of the second page.
NAGAYA_GUEST_CODE(crossing_chain, ROUNDS ".fill 0x1ff0 - (. - 1b), 1, 0xcc\n" R"(
5: .fill 13, 1, 0x90
  add $0x00000001, %r8d
  ret
)");

// One processor goes through the chain until it sees the other's turn, and judges what came of it.
NAGAYA_GUEST_CODE(chain_caller, "1: " SMC_CALLER("call 5f") PAGE(1) "5: jmp 6f\n" PAGE(2) "6: mov $1, %eax\n jmp 7f\n" PAGE(3) "7: ret\n");
NAGAYA_GUEST_CODE(chain_writer, SMC_WRITER("7"));

namespace {

using testing::SystemGuest;
using namespace x86;

constexpr u64 pages = 0x30000, alias = 0x700000;
const SoftOptions options_list[] = {{}, {.max_block_insns = 1}, {.precise_flags = true, .max_block_insns = 3}};

/// Sum over `rounds` of a number that begins with 1.
u64 expected(u32 rounds, u32 mask) {
  u64 sum = 0;
  u8 value = 1;
  for (u32 left = rounds; left; --left) {
    sum += value;
    if (!(left & mask)) ++value;
  }
  return sum;
}

TEST(SelfModifyingChain, EachPageAndItsAlias) {
  for (const SoftOptions& options : options_list) {
    SystemGuest g(options);
    for (u64 page = 1; page < 4; ++page) {
      for (const bool by_alias : {false, true}) {
        for (const auto& [rounds, mask] : {std::pair{100u, 0u}, {1000u, 31u}}) {
          g.code(chain, pages);
          g.pte(alias) = (pages + page * 0x1000) | 7;
          auto s = SystemGuest::kernel();
          s.rip = pages;
          s.gpr[RCX] = rounds, s.gpr[RBX] = mask, s.gpr[RDI] = (by_alias ? alias : pages + page * 0x1000) + 3;
          const CpuState out = g.go(s);
          EXPECT_EQ(g.vector, -1);
          const u64 changing = expected(rounds, mask);
          EXPECT_EQ(out.gpr[R8], page == 1 ? changing : rounds);
          EXPECT_EQ(out.gpr[R9], page == 2 ? changing : rounds);
          EXPECT_EQ(out.gpr[R10], page == 3 ? changing : rounds);
        }
      }
    }
  }
}

TEST(SelfModifyingChain, CrossingInstruction) {
  for (const SoftOptions& options : options_list) {
    SystemGuest g(options);
    for (const auto& [rounds, mask] : {std::pair{100u, 0u}, {1000u, 31u}}) {
      g.code(crossing_chain, pages);
      auto s = SystemGuest::kernel();
      s.rip = pages;
      s.gpr[RCX] = rounds, s.gpr[RBX] = mask, s.gpr[RDI] = pages + 0x2000;
      const CpuState out = g.go(s);
      EXPECT_EQ(g.vector, -1);
      EXPECT_EQ(out.gpr[R8], expected(rounds, mask));
    }
  }
}

TEST(SelfModifyingChain, ByAnotherProcessor) {
  for (const SoftOptions& options : options_list) {
    SystemGuest g(options);
    g.code(chain_caller, pages);
    g.code(chain_writer);
    constexpr u32 rounds = 300;
    auto s = SystemGuest::kernel();
    s.rip = pages;
    s.gpr[RDI] = SystemGuest::data_at, s.gpr[RCX] = rounds;
    auto w = SystemGuest::kernel();
    w.gpr[RSP] = 0x60000;
    w.gpr[RSI] = pages + 0x2000, w.gpr[RDI] = SystemGuest::data_at, w.gpr[RCX] = rounds;
    testing::run_both(g, s, w);
  }
}

}  // namespace
}  // namespace nagaya::engine::soft
