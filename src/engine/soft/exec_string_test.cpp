// String instructions against models, at page ends, with overlaps and both directions.
#include <random>

#include "engine/soft/exec_env_test.hpp"

namespace nagaya::engine::soft {
namespace {

using namespace x86;

class StringTest : public ExecEnv {
 protected:
  StringTest() { mode(64); }
};

TEST_F(StringTest, RepStosFillsPages) {
  reg(RDI) = 0x10008;
  reg(RAX) = 0x0123456789abcdef;
  reg(RCX) = 1500;
  ASSERT_TRUE(run({0xf3, 0x48, 0xab}));  // rep stosq
  EXPECT_EQ(cpu.s.rip, rip0) << "one call does about a page";
  EXPECT_GT(reg(RCX), 0u);
  EXPECT_LT(reg(RCX), 1500u);
  ASSERT_TRUE(run_all({0xf3, 0x48, 0xab}));
  EXPECT_EQ(cpu.s.rip, rip0 + 3);
  EXPECT_EQ(reg(RCX), 0u);
  EXPECT_EQ(reg(RDI), 0x10008u + 1500 * 8);
  EXPECT_EQ(at(0x10000), 0u);
  for (u64 i = 0; i < 1500; ++i) ASSERT_EQ(at(0x10008 + i * 8), 0x0123456789abcdefu);
  EXPECT_EQ(at(0x10008 + 1500 * 8), 0u);
}

TEST_F(StringTest, CountZeroDoesNothing) {
  reg(RCX) = 0;
  reg(RDI) = ~u64{0} << 20;
  ASSERT_TRUE(run({0xf3, 0xaa}));
  EXPECT_EQ(cpu.s.rip, rip0 + 2);
}

TEST_F(StringTest, FaultInTheMiddleIsPrecise) {
  unmap(0x12000);
  reg(RDI) = 0x11ff4;
  reg(RCX) = 100;
  reg(RAX) = 0x55;
  cpu.fault = {};
  bool ok = true;
  while (ok && cpu.s.rip == rip0) ok = run({0xf3, 0xab});  // rep stosd
  EXPECT_FALSE(ok);
  expect_fault(vec_pf, 2);
  EXPECT_EQ(cpu.s.cr2, 0x12000u);
  EXPECT_EQ(cpu.s.rip, rip0);
  EXPECT_EQ(reg(RCX), 97u);
  EXPECT_EQ(reg(RDI), 0x12000u);
  EXPECT_EQ(at<u32>(0x11ffc), 0x55u);
}

TEST_F(StringTest, ElementAcrossPagesChecksBothFirst) {
  unmap(0x12000);
  at(0x11ff8) = 0;
  reg(RDI) = 0x11ffc;
  reg(RCX) = 2;
  reg(RAX) = ~u64{0};
  EXPECT_FALSE(run({0xf3, 0x48, 0xab}));
  expect_fault(vec_pf, 2);
  EXPECT_EQ(cpu.s.cr2, 0x12000u);
  EXPECT_EQ(reg(RCX), 2u);
  EXPECT_EQ(at(0x11ff8), 0u);
}

/// REP MOVS of any size, overlap and direction against the definition.
TEST_F(StringTest, MovsEqualsTheDefinition) {
  std::mt19937_64 random(1);
  std::vector<u8> expected(0xc000);
  for (int round = 0; round < 400; ++round) {
    const unsigned size = 1u << random() % 4;
    const bool down = random() % 2, address32 = random() % 2;
    const u64 count = random() % 3 ? random() % 40 : random() % 1200;
    u64 rsi = 0x14000 + random() % 0x2000, rdi = random() % 2 ? rsi + random() % 64 - 32 : 0x14000 + random() % 0x2000;
    for (auto& byte : expected) byte = static_cast<u8>(random());
    std::memcpy(ram_ + 0x10000, expected.data(), expected.size());
    reg(RSI) = rsi;
    reg(RDI) = rdi;
    reg(RCX) = count;
    cpu.s.rip = rip0;
    cpu.s.rflags = down ? 0x402 : 2;
    bool ok;
    switch (size) {
      case 1: ok = address32 ? run_all({0x67, 0xf3, 0xa4}) : run_all({0xf3, 0xa4}); break;
      case 2: ok = address32 ? run_all({0x67, 0x66, 0xf3, 0xa5}) : run_all({0x66, 0xf3, 0xa5}); break;
      case 4: ok = address32 ? run_all({0x67, 0xf3, 0xa5}) : run_all({0xf3, 0xa5}); break;
      default: ok = address32 ? run_all({0x67, 0xf3, 0x48, 0xa5}) : run_all({0xf3, 0x48, 0xa5}); break;
    }
    ASSERT_TRUE(ok);
    for (u64 i = 0; i < count; ++i) {
      u64 value;
      std::memcpy(&value, expected.data() + rsi - 0x10000, size);
      std::memcpy(expected.data() + rdi - 0x10000, &value, size);
      rsi = down ? rsi - size : rsi + size;
      rdi = down ? rdi - size : rdi + size;
    }
    ASSERT_EQ(reg(RSI), rsi);
    ASSERT_EQ(reg(RDI), rdi);
    ASSERT_EQ(reg(RCX), 0u);
    ASSERT_EQ(std::memcmp(ram_ + 0x10000, expected.data(), expected.size()), 0) << "round " << round;
  }
}

TEST_F(StringTest, CompareStopsWithExactFlags) {
  std::memset(ram_ + 0x10000, 7, 0x3000);
  std::memset(ram_ + 0x20000, 7, 0x3000);
  at<u8>(0x20000 + 5000) = 9;
  reg(RSI) = 0x10000;
  reg(RDI) = 0x20000;
  reg(RCX) = 8000;
  ASSERT_TRUE(run_all({0xf3, 0xa6}));  // repe cmpsb
  EXPECT_EQ(reg(RCX), 8000u - 5001);
  EXPECT_EQ(reg(RSI), 0x10000u + 5001);
  EXPECT_EQ(reg(RDI), 0x20000u + 5001);
  EXPECT_EQ(cpu.s.rflags & 0x8d5, 0x91u) << "7 - 9: CF, AF, SF";
}

TEST_F(StringTest, ScanFindsAndMisses) {
  std::memset(ram_ + 0x10000, 1, 0x2000);
  at<u8>(0x11abc) = 0;
  reg(RDI) = 0x10000;
  reg(RCX) = ~u64{0};
  reg(RAX) = 0;
  ASSERT_TRUE(run_all({0xf2, 0xae}));  // repne scasb
  EXPECT_EQ(reg(RDI), 0x11abdu);
  EXPECT_EQ(cpu.s.rflags & 0x8d5, 0x44u);
  cpu.s.rip = rip0;
  reg(RDI) = 0x10000;
  reg(RCX) = 16;
  ASSERT_TRUE(run_all({0xf2, 0xae}));
  EXPECT_EQ(reg(RCX), 0u);
  EXPECT_EQ(cpu.s.rflags & 0x40, 0u);
}

TEST_F(StringTest, LodsTakesTheLastElement) {
  for (unsigned i = 0; i < 4; ++i) at<u16>(0x10000 + i * 2u) = static_cast<u16>(0x100 + i);
  reg(RSI) = 0x10000;
  reg(RCX) = 4;
  reg(RAX) = ~u64{0};
  ASSERT_TRUE(run({0x66, 0xf3, 0xad}));
  EXPECT_EQ(reg(RAX), 0xffffffffffff0103u);
  EXPECT_EQ(reg(RSI), 0x10008u);
}

TEST_F(StringTest, MmioGoesByElement) {
  at(0x3000 + 3 * 8) = 0x80000000 | 0x83;  // 6 MiB → a place without RAM
  tlb_flush_all(cpu);
  reg(RSI) = 0x10000;
  reg(RDI) = 0x600010;
  reg(RCX) = 3;
  at<u32>(0x10000) = 1, at<u32>(0x10004) = 2, at<u32>(0x10008) = 3;
  ASSERT_TRUE(run_all({0xf3, 0xa5}));
  EXPECT_TRUE(was_heavy);
  const std::vector<IoAccess> expected{{0x80000010, 4, true, false, 1}, {0x80000014, 4, true, false, 2}, {0x80000018, 4, true, false, 3}};
  EXPECT_EQ(io.log, expected);
}

TEST_F(StringTest, CodePagesAreReported) {
  flags_[0x10] = page_dirty_log;
  reg(RDI) = 0x10000;
  reg(RCX) = 4;
  ASSERT_TRUE(run({0xf3, 0x48, 0xab}));
  EXPECT_EQ(dirty_[0] >> 0x10 & 1, 1u);
}

TEST_F(StringTest, SixteenBitOffsetsWrap) {
  mode(16);
  cpu.s.cr0 &= ~(cr0_pe | cr0_pg);
  cpu.s.msr.efer = 0;
  for (auto& seg : cpu.s.seg) seg = {.limit = 0xffff, .attr = 0x93};
  cpu.s.seg[ES] = {.base = 0x10000, .limit = 0xffff, .selector = 0x1000, .attr = 0x93};
  mode_changed(cpu);
  tlb_flush_all(cpu);
  reg(RDI) = 0xabcd0000fffe;
  reg(RCX) = 4;
  reg(RAX) = 0x5a;
  ASSERT_TRUE(run_all({0xf3, 0xaa}));
  EXPECT_EQ(reg(RDI), 0xabcd00000002u);
  EXPECT_EQ(at<u16>(0x1fffe), 0x5a5a);
  EXPECT_EQ(at<u16>(0x10000), 0x5a5a);
}

TEST_F(StringTest, SegmentOverrideOfTheSource) {
  cpu.s.seg[FS].base = 0x1000;
  mode_changed(cpu);
  at<u8>(0x11000) = 5;
  at<u8>(0x20000) = 5;
  reg(RSI) = 0x10000;
  reg(RDI) = 0x20000;
  ASSERT_TRUE(run({0x64, 0xa6}));  // cmpsb fs:[rsi], [rdi]
  EXPECT_EQ(cpu.s.rflags & 0x40, 0x40u);
}

TEST_F(StringTest, SteppedRepeatsStopAfterEachElement) {
  cpu.s.rflags |= flag_tf;
  reg(RDI) = 0x10000;
  reg(RCX) = 3;
  ASSERT_TRUE(run({0xf3, 0xaa}));
  EXPECT_EQ(reg(RCX), 2u);
  EXPECT_EQ(cpu.s.rip, rip0);
}

TEST_F(StringTest, RepneRepeatsMovsToo) {
  reg(RSI) = 0x10000;
  reg(RDI) = 0x20000;
  reg(RCX) = 8;
  ASSERT_TRUE(run_all({0xf2, 0xa4}));
  EXPECT_EQ(reg(RCX), 0u);
  EXPECT_EQ(reg(RDI), 0x20008u);
}

// Pages that the inline TLB knows take a short way, unless breakpoints are enabled.
TEST_F(StringTest, KnownPagesAreAsAnyOther) {
  std::mt19937_64 random(11);
  constexpr u64 base = 0x10000, size = 0x4000;
  for (int round = 0; round < 2000; ++round) {
    std::vector<u8> before(size);
    for (u8& b : before) b = static_cast<u8>(random());
    const auto place = [&] { return base + 2100 + random() % (size - 6300); };
    const u64 from = place(), to = random() % 3 ? place() : from + random() % 16;
    const unsigned width = static_cast<unsigned>(random() % 3);  // bytes, doublewords, quadwords
    const u64 count = random() % 4 ? random() % 64 : random() % (4096u >> (width ? width + 1 : 0));
    const u64 rax = random();
    const bool moves = random() & 1, down = random() % 8 == 0;
    std::vector<u8> after[2];
    std::array<u64, 16> registers[2];
    for (const bool known : {false, true}) {
      std::memcpy(ram_ + base, before.data(), size);
      tlb_flush_all(cpu);
      u8 byte = 0;
      for (u64 page = base; known && page < base + size; page += 4096) {
        ASSERT_TRUE(mem_read(cpu, page, &byte, 1, current_kind(cpu)) && mem_write(cpu, page, &byte, 1, current_kind(cpu)));
      }
      cpu.s.dr7 = known ? 0x400 : 0x401;
      cpu.s.rip = rip0;
      cpu.s.rflags = down ? 0x402 : 2;
      reg(RSI) = from, reg(RDI) = to, reg(RCX) = count, reg(RAX) = rax;
      if (down) reg(RSI) += 2100, reg(RDI) += 2100;
      const int op = (moves ? 0xa4 : 0xaa) | (width ? 1 : 0);
      ASSERT_TRUE(width == 2 ? run_all({0xf3, 0x48, op}) : run_all({0xf3, op}));
      registers[known] = cpu.s.gpr;
      after[known].assign(ram_ + base, ram_ + base + size);
    }
    ASSERT_EQ(registers[0], registers[1]);
    ASSERT_TRUE(after[0] == after[1]) << "round " << round;
  }
  cpu.s.dr7 = 0x400;
}

}  // namespace
}  // namespace nagaya::engine::soft
