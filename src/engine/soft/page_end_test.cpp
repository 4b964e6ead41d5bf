// Instructions at the end of a page whose next page is missing, and what they leave: registers, flags and memory as before (or,
// of repeated ones, as of the element that faulted), CR2 and the error code; after the page has come they complete.
#include <gtest/gtest.h>

#include "engine/soft/system_guest_test_util.hpp"

namespace nagaya::engine::soft {

#define EXIT "out %al, $0xf4\n"

NAGAYA_GUEST_CODE(end_rep_movs, "rep movsb\n" EXIT);
NAGAYA_GUEST_CODE(end_rep_movsq, "rep movsq\n" EXIT);
NAGAYA_GUEST_CODE(end_rep_stosd, "rep stosl\n" EXIT);
NAGAYA_GUEST_CODE(end_rep_lodsw, "rep lodsw\n" EXIT);
NAGAYA_GUEST_CODE(end_repe_cmps, "repe cmpsb\n" EXIT);
NAGAYA_GUEST_CODE(end_repne_scas, "repne scasb\n" EXIT);
NAGAYA_GUEST_CODE(end_rep_stos_down, "std\n rep stosb\n cld\n" EXIT);
// Flags are set before, so that what the fault's frame shows is known.
NAGAYA_GUEST_CODE(end_add, "cmp %rax, %rax\n stc\n add %rbx, (%rdi)\n" EXIT);
NAGAYA_GUEST_CODE(end_lock_xadd, "cmp %rax, %rax\n stc\n lock xadd %rbx, (%rdi)\n" EXIT);
NAGAYA_GUEST_CODE(end_cmpxchg, "cmp %rdx, %rdx\n stc\n cmpxchg %rbx, (%rdi)\n" EXIT);
NAGAYA_GUEST_CODE(end_xchg, "cmp %rax, %rax\n stc\n xchg %rbx, (%rdi)\n" EXIT);
NAGAYA_GUEST_CODE(end_bts, "cmp %rax, %rax\n stc\n bts %rbx, (%rdi)\n" EXIT);
NAGAYA_GUEST_CODE(end_push_mem, "cmp %rax, %rax\n stc\n pushq (%rdi)\n" EXIT);
NAGAYA_GUEST_CODE(end_pop_mem, "cmp %rax, %rax\n stc\n popq (%rdi)\n" EXIT);
NAGAYA_GUEST_CODE(end_store, "cmp %rax, %rax\n stc\n movups %xmm1, (%rdi)\n" EXIT);
NAGAYA_GUEST_CODE(end_push, "cmp %rax, %rax\n stc\n push %rbx\n" EXIT);
NAGAYA_GUEST_CODE(end_call, "cmp %rax, %rax\n stc\n call 2f\n nop\n2: " EXIT);
NAGAYA_GUEST_CODE(end_enter, "cmp %rax, %rax\n stc\n enter $32, $0\n" EXIT);
NAGAYA_GUEST_CODE(end_dead_flags, "xor %eax, %eax\n mov (%rdi), %rcx\n add $1, %eax\n" EXIT);
NAGAYA_GUEST_CODE(end_nops, ".fill 8, 1, 0x90\n");

namespace {

using testing::SystemGuest;
using namespace x86;

constexpr u64 first = 0x300000, missing = 0x301000, stack = 0x600000;

/// Runs with `missing` absent, checks the fault, brings the page and goes on from the frame.
class PageEnd : public ::testing::TestWithParam<bool> {
 protected:
  PageEnd() : g(SoftOptions{.precise_flags = GetParam()}) {
    for (u64 i = 0; i < 4096; ++i) g.at<u8>(first + i) = static_cast<u8>(i * 7 + 1), g.at<u8>(missing + i) = static_cast<u8>(i * 5 + 3);
    s = SystemGuest::kernel();
    s.gpr[RSP] = stack;
    // The exceptions come on another stack, as tests move RSP.
    g.gate(14, SystemGuest::stubs_at + 14 * 16, 1);
    g.gate(12, SystemGuest::stubs_at + 12 * 16, 1);
    g.gate(13, SystemGuest::stubs_at + 13 * 16, 1);
  }
  void fault(const testing::GuestCode& code, u64 rip_offset, u64 cr2, u64 error) {
    g.code(code);
    g.pte(missing) &= ~1ull;
    before.assign(g.ram() + first, g.ram() + first + 8192);
    faulted = g.go(s);
    ASSERT_EQ(g.vector, 14);
    frame = g.frame(faulted);
    EXPECT_EQ(frame.rip, SystemGuest::code_at + rip_offset);
    EXPECT_EQ(faulted.cr2, cr2);
    EXPECT_EQ(frame.code, error);
    EXPECT_TRUE(frame.flags & 0x10000) << "RF";
  }
  void nothing_changed() {
    EXPECT_EQ(std::memcmp(before.data(), g.ram() + first, 8192), 0);
    for (unsigned i = 0; i < 16; ++i) {
      if (i != RSP) {
        EXPECT_EQ(faulted.gpr[i], s.gpr[i]) << i;
      }
    }
    EXPECT_EQ(frame.rsp, s.gpr[RSP]);
    if (GetParam()) {
      EXPECT_EQ(frame.flags & 0x8d5, 0x45u);  // ZF PF of the comparison, CF of STC
    }
  }
  CpuState resume() {
    g.pte(missing) |= 1;
    auto r = faulted;
    r.rip = frame.rip, r.rflags = frame.flags, r.gpr[RSP] = frame.rsp;
    const auto out = g.go(r);
    EXPECT_EQ(g.vector, -1);
    return out;
  }
  SystemGuest g;
  CpuState s, faulted;
  testing::ExceptionFrame frame;
  std::vector<u8> before;
};

TEST_P(PageEnd, RepMovsSource) {
  s.gpr[RSI] = missing - 100, s.gpr[RDI] = 0x400000, s.gpr[RCX] = 300;
  fault(end_rep_movs, 0, missing, 0);
  EXPECT_EQ(faulted.gpr[RCX], 200u);
  EXPECT_EQ(faulted.gpr[RSI], missing);
  EXPECT_EQ(faulted.gpr[RDI], 0x400000u + 100);
  EXPECT_EQ(std::memcmp(g.ram() + 0x400000, g.ram() + missing - 100, 100), 0);
  EXPECT_EQ(resume().gpr[RCX], 0u);
  EXPECT_EQ(std::memcmp(g.ram() + 0x400000, g.ram() + missing - 100, 300), 0);
}

TEST_P(PageEnd, RepMovsDestinationMisaligned) {
  // The element that crosses is written whole or not at all.
  s.gpr[RSI] = 0x400000, s.gpr[RDI] = missing - 20, s.gpr[RCX] = 5;
  std::memset(g.ram() + 0x400000, 0xaa, 64);
  fault(end_rep_movsq, 0, missing, 2);
  EXPECT_EQ(faulted.gpr[RCX], 3u);
  EXPECT_EQ(faulted.gpr[RDI], missing - 4);
  EXPECT_EQ(g.at<u8>(missing - 5), 0xaa);
  EXPECT_EQ(std::memcmp(g.ram() + missing - 4, before.data() + 4092, 4), 0);
  EXPECT_EQ(resume().gpr[RCX], 0u);
  for (u64 i = 0; i < 40; ++i) EXPECT_EQ(g.at<u8>(missing - 20 + i), 0xaa);
}

TEST_P(PageEnd, RepStos) {
  s.gpr[RAX] = 0x12345678, s.gpr[RDI] = missing - 16, s.gpr[RCX] = 10;
  fault(end_rep_stosd, 0, missing, 2);
  EXPECT_EQ(faulted.gpr[RCX], 6u);
  EXPECT_EQ(faulted.gpr[RDI], missing);
  EXPECT_EQ(resume().gpr[RDI], missing + 24);
  EXPECT_EQ(g.at<u32>(missing + 20), 0x12345678u);
}

TEST_P(PageEnd, RepStosDownwards) {
  g.pte(first) &= ~1ull;
  s.gpr[RAX] = 0x77, s.gpr[RDI] = missing + 3, s.gpr[RCX] = 10;
  g.code(end_rep_stos_down);
  const auto f = g.go(s);
  EXPECT_EQ(g.vector, 14);
  EXPECT_EQ(f.cr2, missing - 1);
  EXPECT_EQ(f.gpr[RCX], 6u);
  EXPECT_EQ(f.gpr[RDI], missing - 1);
  EXPECT_EQ(g.at<u8>(missing), 0x77);
}

TEST_P(PageEnd, RepLods) {
  s.gpr[RSI] = missing - 3, s.gpr[RCX] = 4;
  fault(end_rep_lodsw, 0, missing, 0);
  EXPECT_EQ(faulted.gpr[RCX], 3u);
  EXPECT_EQ(faulted.gpr[RSI], missing - 1);
  EXPECT_EQ(faulted.gpr[RAX] & 0xffff, g.at<u16>(missing - 3));
  EXPECT_EQ(resume().gpr[RAX] & 0xffff, g.at<u16>(missing + 3));
}

TEST_P(PageEnd, RepeCmps) {
  std::memcpy(g.ram() + 0x400000, g.ram() + missing - 50, 80);
  g.at<u8>(0x400000 + 70) ^= 1;
  s.gpr[RSI] = missing - 50, s.gpr[RDI] = 0x400000, s.gpr[RCX] = 80;
  fault(end_repe_cmps, 0, missing, 0);
  EXPECT_EQ(faulted.gpr[RCX], 30u);
  const auto out = resume();
  EXPECT_EQ(out.gpr[RCX], 9u);
  EXPECT_FALSE(out.rflags & 0x40);
}

TEST_P(PageEnd, RepneScas) {
  std::memset(g.ram() + first, 1, 8192);
  g.at<u8>(missing + 5) = 9;
  s.gpr[RAX] = 9, s.gpr[RDI] = missing - 7, s.gpr[RCX] = 100;
  fault(end_repne_scas, 0, missing, 0);
  EXPECT_EQ(faulted.gpr[RCX], 93u);
  const auto out = resume();
  EXPECT_EQ(out.gpr[RDI], missing + 6);
  EXPECT_TRUE(out.rflags & 0x40);
}

TEST_P(PageEnd, ReadModifyWrite) {
  for (const auto& code : {end_add, end_lock_xadd, end_xchg}) {
    s.gpr[RDI] = missing - 3, s.gpr[RBX] = 0x1111111111111111;
    const u64 value = g.at(missing - 3);
    fault(code, 4, missing, 2);
    nothing_changed();
    const auto out = resume();
    if (code.begin == end_xchg.begin) {
      EXPECT_EQ(g.at(missing - 3), 0x1111111111111111u);
      EXPECT_EQ(out.gpr[RBX], value);
    } else {
      EXPECT_EQ(g.at(missing - 3), value + 0x1111111111111111);
    }
  }
}

TEST_P(PageEnd, CompareExchangeFaultsForWritingThoughItDiffers) {
  s.gpr[RDI] = missing - 1, s.gpr[RAX] = 12345, s.gpr[RBX] = 1;
  fault(end_cmpxchg, 4, missing, 2);
  nothing_changed();
  const u64 value = g.at(missing - 1);
  EXPECT_EQ(resume().gpr[RAX], value);
}

TEST_P(PageEnd, BitStringReachesTheNextPage) {
  s.gpr[RDI] = missing - 8, s.gpr[RBX] = 64 + 5;
  g.at(missing) = 0;
  fault(end_bts, 4, missing, 2);
  nothing_changed();
  const auto out = resume();
  EXPECT_EQ(g.at(missing), 32u);
  EXPECT_FALSE(out.rflags & 1);
}

TEST_P(PageEnd, VectorStore) {
  s.gpr[RDI] = missing - 15;
  for (unsigned i = 0; i < 16; ++i) s.xsave[160 + 16 + i] = static_cast<u8>(0xc0 + i);
  s.xsave[512] = 3;
  fault(end_store, 4, missing, 2);
  nothing_changed();
  resume();
  EXPECT_EQ(g.at<u8>(missing), 0xcf);
  EXPECT_EQ(g.at<u8>(missing - 15), 0xc0);
}

TEST_P(PageEnd, PushAndPopOfMemory) {
  s.gpr[RDI] = missing - 4;
  fault(end_push_mem, 4, missing, 0);
  nothing_changed();
  EXPECT_EQ(resume().gpr[RSP], stack - 8);
  EXPECT_EQ(g.at(stack - 8), g.at(missing - 4));
  g.at(stack) = 0x0102030405060708;
  fault(end_pop_mem, 4, missing, 2);
  nothing_changed();
  EXPECT_EQ(resume().gpr[RSP], stack + 8);
  EXPECT_EQ(g.at(missing - 4), 0x0102030405060708u);
}

TEST_P(PageEnd, Stack) {
  s.gpr[RSP] = missing + 4, s.gpr[RBX] = 0x5555;
  fault(end_push, 4, missing, 2);
  nothing_changed();
  EXPECT_EQ(resume().gpr[RSP], missing - 4);
  s.gpr[RSP] = missing + 8;
  fault(end_call, 4, missing, 2);
  nothing_changed();
  EXPECT_EQ(resume().gpr[RSP], missing);
  EXPECT_EQ(g.at(missing), SystemGuest::code_at + 9);
  s.gpr[RSP] = missing + 0x10;
  fault(end_enter, 4, missing + 8, 2);
  nothing_changed();
  const auto out = resume();
  EXPECT_EQ(out.gpr[RBP], missing + 8);
  EXPECT_EQ(out.gpr[RSP], missing + 8 - 32);
}

TEST_P(PageEnd, FlagsThatNobodyReads) {
  if (!GetParam()) return;
  s.gpr[RDI] = missing, s.rflags |= 0x8d5;
  fault(end_dead_flags, 2, missing, 0);
  EXPECT_EQ(frame.flags & 0x8c5, 0x44u);  // of XOR
}

TEST_P(PageEnd, CodeRunsOver) {
  std::memset(g.ram() + first + 4090, 0x90, 10);
  const u8 tail[] = {0xb8, 0x78, 0x56, 0x34, 0x12, 0xe6, 0xf4};
  std::memcpy(g.ram() + missing - 2, tail, sizeof tail);  // MOV EAX across
  g.engine().memory_written(Gpa(first), 8192);
  g.pte(missing) &= ~1ull;
  s.rip = first + 4090;
  faulted = g.go(s);
  ASSERT_EQ(g.vector, 14);
  frame = g.frame(faulted);
  EXPECT_EQ(frame.rip, missing - 2);
  EXPECT_EQ(faulted.cr2, missing);
  EXPECT_EQ(frame.code, 16u);  // a fetch, as EFER.NXE is on
  EXPECT_EQ(resume().gpr[RAX], 0x12345678u);
  // Not across, but right up to the end.
  const u8 exact[] = {0xb8, 1, 0, 0, 0, 0xe6, 0xf4};
  std::memcpy(g.ram() + missing - 5, exact, sizeof exact);
  g.engine().memory_written(Gpa(first), 8192);
  g.pte(missing) &= ~1ull;
  s.rip = missing - 5;
  faulted = g.go(s);
  ASSERT_EQ(g.vector, 14);
  frame = g.frame(faulted);
  EXPECT_EQ(frame.rip, missing);
  EXPECT_EQ(faulted.gpr[RAX], 1u);
  resume();
}

TEST_P(PageEnd, NotCanonical) {
  struct Case {
    const testing::GuestCode* code;
    unsigned gpr;
    int vector;
  };
  for (const Case& c : {Case{&end_push, RSP, 12}, Case{&end_call, RSP, 12}, Case{&end_add, RDI, 13}, Case{&end_push_mem, RDI, 13}}) {
    g.code(*c.code);
    auto t = s;
    t.gpr[c.gpr] = 0x0000800000000000 + 64;
    const auto out = g.go(t);
    EXPECT_EQ(g.vector, c.vector);
    EXPECT_EQ(g.frame(out).code, 0u);
    EXPECT_EQ(g.frame(out).rip, SystemGuest::code_at + 4);
  }
}

INSTANTIATE_TEST_SUITE_P(Flags, PageEnd, ::testing::Bool(), [](const auto& p) { return p.param ? "Precise" : "Fast"; });

}  // namespace
}  // namespace nagaya::engine::soft
