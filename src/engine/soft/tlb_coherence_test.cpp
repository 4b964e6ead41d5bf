// One hot loop, and page tables that change between two of its accesses: what INVLPG, CR3, PCIDs, global pages, WP and SMAP
// promise. The loop is the same block each time, so that its inline lookups are what is tested.
#include <gtest/gtest.h>

#include "engine/soft/system_guest_test_util.hpp"

namespace nagaya::engine::soft {

#define EXIT "out %al, $0xf4\n"

// Three rounds over one load from (%rsi). After the first the PTE at (%rbx) becomes %rdx; then after the second a port write
// asks the host for what to do. R8, R9, R10: the values seen.
NAGAYA_GUEST_CODE(remap_invlpg, R"(
  xor %ecx, %ecx
2: mov (%rsi), %rax
  test %ecx, %ecx
  jnz 3f
  mov %rax, %r8
  mov %rdx, (%rbx)
  invlpg (%rsi)
3: inc %ecx
  cmp $2, %ecx
  jb 2b
)" EXIT);
NAGAYA_GUEST_CODE(remap_cr3, R"(
  xor %ecx, %ecx
2: mov (%rsi), %rax
  test %ecx, %ecx
  jnz 3f
  mov %rax, %r8
  mov %rdx, (%rbx)
  mov %cr3, %rdi
  mov %rdi, %cr3
3: inc %ecx
  cmp $2, %ecx
  jb 2b
)" EXIT);
NAGAYA_GUEST_CODE(remap_cr4, R"(
  xor %ecx, %ecx
2: mov (%rsi), %rax
  test %ecx, %ecx
  jnz 3f
  mov %rax, %r8
  mov %rdx, (%rbx)
  mov %cr4, %rdi
  xor $0x80, %rdi
  mov %rdi, %cr4
  xor $0x80, %rdi
  mov %rdi, %cr4
3: inc %ecx
  cmp $2, %ecx
  jb 2b
)" EXIT);
// Loads under two PCIDs in turn: R12 and R13 are CR3 values (bit 63: keep). Sums of what each saw.
NAGAYA_GUEST_CODE(two_pcids, R"(
  mov $50, %ecx
2: mov %r12, %cr3
  add (%rsi), %r8
  mov %r13, %cr3
  add (%rsi), %r9
  dec %ecx
  jnz 2b
)" EXIT);
// A page loses a right between two accesses of one loop.
NAGAYA_GUEST_CODE(lose_write, R"(
  xor %ecx, %ecx
2: incq (%rsi)
  mov %rdx, (%rbx)
  invlpg (%rsi)
  inc %ecx
  jmp 2b
)");
NAGAYA_GUEST_CODE(toggle_wp, R"(
  mov %cr0, %rax
  mov %rax, %rdx
  btr $16, %rdx
2: mov %rdx, %cr0
  incq (%rsi)
  mov %rax, %cr0
  incq (%rsi)
)" EXIT);
NAGAYA_GUEST_CODE(smap_blocks, R"(
  mov $10, %ecx
2: stac
  incq (%rsi)
  clac
  incq (%rdi)
  dec %ecx
  jnz 2b
  stac
  pushfq
  clac
  popfq
  incq (%rsi)
  clac
  incq (%rsi)
)" EXIT);
NAGAYA_GUEST_CODE(accessed_dirty, R"(
  mov (%rsi), %rax
  mov (%rbx), %r8
  mov %rax, (%rsi)
  mov (%rbx), %r9
  andq $~0x60, (%rbx)
  invlpg (%rsi)
  mov (%rsi), %rax
  mov (%rbx), %r10
  andq $~0x60, (%rbx)
  invlpg (%rsi)
  lock xadd %rax, (%rsi)
  mov (%rbx), %r11
)" EXIT);
NAGAYA_GUEST_CODE(exec_remap, R"(
  mov $4, %ecx
2: call *%rsi
  add %eax, %r8d
  xchg %rdx, (%rbx)
  invlpg (%rsi)
  dec %ecx
  jnz 2b
)" EXIT);
NAGAYA_GUEST_CODE(large_invlpg, R"(
  mov (%rsi), %r8
  mov 0x1000(%rsi), %r9
  mov %rdx, (%rbx)
  invlpg 0x5000(%rsi)
  mov (%rsi), %r10
  mov 0x1000(%rsi), %r11
)" EXIT);
NAGAYA_GUEST_CODE(return_5, "mov $5, %eax\n ret\n");
NAGAYA_GUEST_CODE(return_7, "mov $7, %eax\n ret\n");

namespace {

using testing::SystemGuest;
using namespace x86;

constexpr u64 page = 0x700000, one = 0x300000, two = 0x310000;
constexpr u64 pte_at(u64 linear) { return 0x4000 + (linear >> 21) * 0x1000 + (linear >> 12 & 511) * 8; }

class Coherence : public ::testing::Test {
 protected:
  Coherence() {
    s = SystemGuest::kernel();
    g.at(one) = 1, g.at(two) = 2;
    g.pte(page) = one | 7;
    s.gpr[RSI] = page, s.gpr[RBX] = pte_at(page), s.gpr[RDX] = two | 7;
  }
  const CpuState& run(const testing::GuestCode& code) {
    g.code(code);
    out = g.go(s);
    return out;
  }
  SystemGuest g;
  CpuState s, out;
};

TEST_F(Coherence, Invlpg) {
  run(remap_invlpg);
  EXPECT_EQ(out.gpr[R8], 1u);
  EXPECT_EQ(out.gpr[RAX], 2u);
}

TEST_F(Coherence, InvlpgOfAGlobalPage) {
  s.cr4 |= 0x80;
  g.pte(page) |= 0x100;
  s.gpr[RDX] |= 0x100;
  run(remap_invlpg);
  EXPECT_EQ(out.gpr[RAX], 2u);
}

TEST_F(Coherence, Cr3Reload) {
  run(remap_cr3);
  EXPECT_EQ(out.gpr[R8], 1u);
  EXPECT_EQ(out.gpr[RAX], 2u);
}

TEST_F(Coherence, GlobalPagesGoWithCr4Pge) {
  s.cr4 |= 0x80;
  g.pte(page) |= 0x100;
  run(remap_cr4);
  EXPECT_EQ(out.gpr[R8], 1u);
  EXPECT_EQ(out.gpr[RAX], 2u);
}

TEST_F(Coherence, Pcids) {
  // A second tree: its own PML4, PDPT, PD and the last PT.
  for (u64 i = 0; i < 4; ++i) std::memcpy(g.ram() + 0x40000 + i * 0x1000, g.ram() + (i < 3 ? 0x1000 + i * 0x1000 : 0x7000), 4096);
  g.at(0x40000) = 0x41007, g.at(0x41000) = 0x42007, g.at(0x42000 + 3 * 8) = 0x43007;
  g.at(0x43000 + (page >> 12 & 511) * 8) = two | 7;
  s.cr4 |= 0x20000;
  s.cr3 = 0x1000;
  for (const u64 keep : {u64{0}, u64{1} << 63}) {
    s.gpr[R12] = 0x1001 | keep, s.gpr[R13] = 0x40002 | keep;
    run(two_pcids);
    EXPECT_EQ(g.vector, -1);
    EXPECT_EQ(out.gpr[R8], 50u);
    EXPECT_EQ(out.gpr[R9], 100u);
  }
  // One PCID for both trees, flushed at each load.
  s.gpr[R12] = 0x1001, s.gpr[R13] = 0x40001;
  run(two_pcids);
  EXPECT_EQ(out.gpr[R8], 50u);
  EXPECT_EQ(out.gpr[R9], 100u);
}

TEST_F(Coherence, RightsTakenAway) {
  struct Case {
    u64 pte;
    u64 code;
  };
  for (const Case& c : {Case{one | 5, 3}, Case{one | 4, 2}}) {
    g.pte(page) = one | 7;
    g.at(one) = 0;
    s.gpr[RDX] = c.pte;
    run(lose_write);
    EXPECT_EQ(g.vector, 14);
    EXPECT_EQ(out.gpr[RCX], 1u);
    EXPECT_EQ(g.at(one), 1u);
    EXPECT_EQ(out.cr2, page);
    EXPECT_EQ(g.frame(out).code, c.code);
    EXPECT_EQ(g.frame(out).rip, SystemGuest::code_at + 2);
  }
}

TEST_F(Coherence, WriteProtectToggles) {
  g.pte(page) = one | 5;
  g.at(one) = 0;
  run(toggle_wp);
  EXPECT_EQ(g.vector, 14);
  EXPECT_EQ(g.at(one), 1u);
  EXPECT_EQ(g.frame(out).code, 3u);
}

TEST_F(Coherence, SmapAndStac) {
  s.cr4 |= 0x200000;
  // Everything is a user page in the test's tables: make what the kernel itself uses its own.
  for (u64 i = 0; i < 2048; ++i) g.at(0x4000 + i * 8) &= ~4ull;
  g.pte(page) = one | 7;
  g.at(one) = g.at(two) = 0;
  s.gpr[RDI] = two;
  run(smap_blocks);
  EXPECT_EQ(g.vector, 14);
  EXPECT_EQ(g.at(one), 11u);
  EXPECT_EQ(g.at(two), 10u);
  EXPECT_EQ(g.frame(out).code, 3u);
  EXPECT_EQ(out.cr2, page);
}

TEST_F(Coherence, AccessedAndDirtyBits) {
  g.pte(page) = one | 7;
  run(accessed_dirty);
  EXPECT_EQ(out.gpr[R8] & 0x60, 0x20u);
  EXPECT_EQ(out.gpr[R9] & 0x60, 0x60u);
  EXPECT_EQ(out.gpr[R10] & 0x60, 0x20u);
  EXPECT_EQ(out.gpr[R11] & 0x60, 0x60u);
}

TEST_F(Coherence, CodePagesChangePlaces) {
  g.code(return_5, one);
  g.code(return_7, two);
  run(exec_remap);
  EXPECT_EQ(g.vector, -1);
  EXPECT_EQ(out.gpr[R8], 24u);
}

TEST_F(Coherence, AnyAddressOfALargePage) {
  const u64 pde = 0x3000 + 3 * 8;  // 600000h..7FFFFFh, now one large page
  g.at(pde) = 0x200000 | 0x87;
  g.at(0x200000 + 0x40000) = 3, g.at(0x200000 + 0x41000) = 4;
  g.at(0x400000 + 0x40000) = 5, g.at(0x400000 + 0x41000) = 6;
  s.gpr[RSI] = 0x640000, s.gpr[RBX] = pde, s.gpr[RDX] = 0x400000 | 0x87;
  run(large_invlpg);
  EXPECT_EQ(out.gpr[R8], 3u);
  EXPECT_EQ(out.gpr[R9], 4u);
  EXPECT_EQ(out.gpr[R10], 5u);
  EXPECT_EQ(out.gpr[R11], 6u);
}

}  // namespace
}  // namespace nagaya::engine::soft
