// Branches from page to page, taken many times, while the pages they lead to change places: whatever the engine remembers about
// such a branch must notice INVLPG, CR3, PCIDs, global pages and rights taken away.
#include <gtest/gtest.h>

#include "engine/soft/system_guest_test_util.hpp"

namespace nagaya::engine::soft {

#define EXIT "out %al, $0xf4\n"

// Two pages: a loop of RCX rounds, which enters the second, where RAX becomes 5 (7 in the other page that may stand there), and comes
// back. When RCX & RBX is 0 the pages change. R8: the sum of what was seen.
#define CHAIN(enter, change, back) \
  "1: jmp 2f\n"                    \
  "2: " enter                      \
  "3: add %rax, %r8\n"             \
  "  test %ebx, %ecx\n"            \
  "  jnz 4f\n" change              \
  "4: dec %ecx\n"                  \
  "  jnz 2b\n" EXIT                \
  "  .fill 0xff0 - (. - 1b), 1, 0xcc\n" \
  "7: .fill 16, 1, 0x90\n"         \
  "5: mov $5, %eax\n" back

// R9: address of the page's PTE, R10: the other value of it, RSI: the page.
#define BY_INVLPG "xchg %r10, (%r9)\n invlpg (%rsi)\n"
#define BY_CR3 "xchg %r10, (%r9)\n mov %cr3, %rdx\n mov %rdx, %cr3\n"
#define BY_PGE "xchg %r10, (%r9)\n mov %cr4, %rdx\n btc $7, %rdx\n mov %rdx, %cr4\n btc $7, %rdx\n mov %rdx, %cr4\n"
#define BY_INVPCID "xchg %r10, (%r9)\n mov $2, %edx\n invpcid (%rdi), %rdx\n"
// R12, R13: CR3 values of two address spaces.
#define BY_SPACE "xchg %r12, %r13\n mov %r12, %cr3\n"

#define WAYS(name, enter, back)                                      \
  NAGAYA_GUEST_CODE(name##_invlpg, CHAIN(enter, BY_INVLPG, back));   \
  NAGAYA_GUEST_CODE(name##_cr3, CHAIN(enter, BY_CR3, back));         \
  NAGAYA_GUEST_CODE(name##_pge, CHAIN(enter, BY_PGE, back));         \
  NAGAYA_GUEST_CODE(name##_invpcid, CHAIN(enter, BY_INVPCID, back)); \
  NAGAYA_GUEST_CODE(name##_space, CHAIN(enter, BY_SPACE, back))

WAYS(by_call, "call 5f\n", "ret\n");
WAYS(by_jump, "jmp 5f\n", "jmp 3b\n");
WAYS(by_condition, "cmp %eax, %eax\n jz 5f\n", "test %eax, %eax\n jnz 3b\n");
WAYS(by_pointer, "call *%rsi\n", "ret\n");
WAYS(by_return, "lea 3f(%rip), %rax\n push %rax\n push %rsi\n ret\n", "ret\n");
WAYS(by_running_on, "jmp 7f\n", "jmp 3b\n");

// The callee changes the page it returns to: R9, R10 and RSI are those of the first page.
#define CALLEE_CHANGES(enter, back)      \
  "1: " enter                            \
  "3: add $5, %r8d\n"                    \
  "  dec %ecx\n"                         \
  "  jnz 1b\n" EXIT                      \
  "  .fill 0x1000 - (. - 1b), 1, 0xcc\n" \
  "5: xchg %r10, (%r9)\n"                \
  "  invlpg (%rsi)\n" back
NAGAYA_GUEST_CODE(caller_moves_return, CALLEE_CHANGES("call 5f\n", "ret\n"));
NAGAYA_GUEST_CODE(caller_moves_jump, CALLEE_CHANGES("jmp 5f\n", "jmp 3b\n"));

namespace {

using testing::SystemGuest;
using namespace x86;

constexpr u64 pages = 0x30000, second = pages + 0x1000, other = 0x50000;
constexpr u64 pte_at(u64 linear) { return 0x4000 + (linear >> 21) * 0x1000 + (linear >> 12 & 511) * 8; }
constexpr u32 rounds = 400;

const SoftOptions options_list[] = {{}, {.max_block_insns = 1}, {.precise_flags = true, .max_block_insns = 3}};

u64 expected(u32 mask) {
  u64 sum = 0;
  bool changed = false;
  for (u32 left = rounds; left; --left) {
    sum += changed ? 7 : 5;
    if (!(left & mask)) changed = !changed;
  }
  return sum;
}

class PageLinks : public ::testing::TestWithParam<int> {
 protected:
  PageLinks() : g(options_list[GetParam()]) {
    s = SystemGuest::kernel();
    s.rip = pages;
    s.gpr[RSI] = second, s.gpr[R9] = pte_at(second), s.gpr[R10] = other | 7;
    s.gpr[RCX] = rounds;
    s.gpr[RDI] = SystemGuest::data_at;
  }
  /// `change`: where in the code 5 becomes 7 in the other page.
  void load(const testing::GuestCode& code, u64 page, u64 change) {
    g.pte(page) = page | 7;
    g.code(code, pages);
    std::memcpy(g.ram() + other, g.ram() + page, 4096);
    ASSERT_EQ(g.at<u8>(other + (change & 0xfff)), 5u);
    g.at<u8>(other + (change & 0xfff)) = 7;
    g.engine().memory_written(Gpa(other), 4096);
  }
  void expect_sums(const testing::GuestCode& code) {
    for (const u32 mask : {0u, 63u}) {
      load(code, second, second + 1);
      s.gpr[RBX] = mask;
      const CpuState out = g.go(s);
      EXPECT_EQ(g.vector, -1);
      EXPECT_EQ(out.gpr[R8], expected(mask)) << mask;
    }
  }
  /// A second tree that maps everything the same but the second page.
  void second_space() {
    for (u64 i = 0; i < 4; ++i) std::memcpy(g.ram() + 0x40000 + i * 0x1000, g.ram() + 0x1000 + i * 0x1000, 4096);
    g.at(0x40000) = 0x41007, g.at(0x41000) = 0x42007, g.at(0x42000) = 0x43007;
    g.at(0x43000 + (second >> 12 & 511) * 8) = other | 7;
  }

  SystemGuest g;
  CpuState s;
};

#define EACH_WAY(kind) {&by_call_##kind, &by_jump_##kind, &by_condition_##kind, &by_pointer_##kind, &by_return_##kind, &by_running_on_##kind}

TEST_P(PageLinks, Invlpg) {
  for (const testing::GuestCode* code : EACH_WAY(invlpg)) expect_sums(*code);
}

TEST_P(PageLinks, Cr3) {
  for (const testing::GuestCode* code : EACH_WAY(cr3)) expect_sums(*code);
}

TEST_P(PageLinks, GlobalPages) {
  s.cr4 |= 0x80;
  for (const testing::GuestCode* code : EACH_WAY(pge)) {
    s.gpr[R10] = other | 0x107;
    expect_sums(*code);
  }
}

TEST_P(PageLinks, Invpcid) {
  s.cr4 |= 0x20000;
  for (const testing::GuestCode* code : EACH_WAY(invpcid)) expect_sums(*code);
}

TEST_P(PageLinks, AddressSpaces) {
  struct Case {
    bool pcid;
    u64 one, two;
  };
  constexpr u64 keep = 1ull << 63;
  for (const Case& c : {Case{false, 0x1000, 0x40000}, Case{true, 0x1001, 0x40002}, Case{true, 0x1001 | keep, 0x40002 | keep}, Case{true, 0x1001, 0x40001}}) {
    s.cr4 = c.pcid ? s.cr4 | 0x20000 : s.cr4 & ~0x20000ull;
    s.cr3 = c.one & ~keep;
    s.gpr[R12] = c.one, s.gpr[R13] = c.two;
    for (const testing::GuestCode* code : EACH_WAY(space)) {
      second_space();
      expect_sums(*code);
    }
  }
}

TEST_P(PageLinks, RightsTakenAway) {
  s.cr4 |= 0x100000;  // SMEP
  for (u64 i = 0; i < 2048; ++i) g.at(0x4000 + i * 8) &= ~4ull;
  struct Case {
    u64 pte;
    u64 code;
  };
  for (const Case& c : {Case{other | 2, 0x10}, Case{other | 3 | 1ull << 63, 0x11}, Case{other | 7, 0x11}}) {
    for (const testing::GuestCode* code : EACH_WAY(invlpg)) {
      load(*code, second, second + 1);
      g.pte(second) = second | 3;
      s.gpr[R10] = c.pte;
      s.gpr[RBX] = 255;  // 144 rounds go well
      const CpuState out = g.go(s);
      EXPECT_EQ(g.vector, 14);
      EXPECT_EQ(out.cr2, second);
      EXPECT_EQ(g.frame(out).code, c.code);
      EXPECT_EQ(g.frame(out).rip, second);
      EXPECT_EQ(out.gpr[RCX], 255u);
      EXPECT_EQ(out.gpr[R8], 145u * 5);
    }
  }
}

TEST_P(PageLinks, CalleeMovesItsCaller) {
  s.gpr[RSI] = pages, s.gpr[R9] = pte_at(pages);
  for (const testing::GuestCode* code : {&caller_moves_return, &caller_moves_jump}) {
    load(*code, pages, pages + 8);
    s.gpr[R10] = other | 7;
    const CpuState out = g.go(s);
    EXPECT_EQ(g.vector, -1);
    EXPECT_EQ(out.gpr[R8], rounds / 2 * 12);
  }
}

INSTANTIATE_TEST_SUITE_P(Options, PageLinks, ::testing::Values(0, 1, 2));

}  // namespace
}  // namespace nagaya::engine::soft
