#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "engine/soft/decode_memo.hpp"

namespace nagaya::engine::soft {
namespace {

void expect_same(const Decoded& a, const Decoded& b, const u8* bytes) {
  const auto where = ::testing::PrintToString(std::vector<unsigned>(bytes, bytes + 15));
  ASSERT_EQ(std::memcmp(&a.insn, &b.insn, offsetof(Insn, seg)), 0) << where;
  const Insn &m = a.insn, &n = b.insn;
  ASSERT_TRUE(m.seg == n.seg && m.base == n.base && m.index == n.index && m.scale == n.scale && m.mem_size == n.mem_size) << where;
  ASSERT_TRUE(m.disp == n.disp && m.imm == n.imm && m.imm2 == n.imm2) << where;
  ASSERT_TRUE(m.vvvv == n.vvvv && m.kmask == n.kmask && m.vlen == n.vlen && m.zeroing == n.zeroing && m.vex == n.vex && m.evex == n.evex && m.rex_w == n.rex_w) << where;
  ASSERT_TRUE(a.kind == b.kind && a.unit == b.unit && a.offset == b.offset && a.encoding == b.encoding && a.payload == b.payload) << where;
  ASSERT_EQ(std::memcmp(a.bytes, b.bytes, a.insn.length), 0) << where;
  ASSERT_TRUE(a.mandatory == b.mandatory && a.prefix66 == b.prefix66 && a.lock == b.lock && a.rex == b.rex && a.rex_w == b.rex_w &&
              a.address32 == b.address32 && a.modrm_is_register_form == b.modrm_is_register_form && a.imm_offset == b.imm_offset &&
              a.imm_size == b.imm_size && a.gpr_count == b.gpr_count && a.implicit_writes == b.implicit_writes && a.rcx_in == b.rcx_in &&
              a.rcx_out == b.rcx_out && a.mem_read == b.mem_read && a.mem_write == b.mem_write && a.masked == b.masked && a.aligned == b.aligned &&
              a.flags_read == b.flags_read && a.flags_kill == b.flags_kill && a.ends_block == b.ends_block)
      << where;
  for (unsigned i = 0; i < a.gpr_count; ++i) {
    const GprOperand &p = a.gpr[i], &q = b.gpr[i];
    ASSERT_TRUE(p.place == q.place && p.reg == q.reg && p.size == q.size && p.high8 == q.high8 && p.read == q.read && p.write == q.write) << where;
  }
}

/// Everything the memo says is what the decoder says: all opcodes of all maps with all prefixes, with other tails again and again.
TEST(DecodeMemo, SaysWhatTheDecoderSays) {
  std::mt19937_64 random(11);
  DecodeMemo memo;
  constexpr u8 prefixes[] = {0x66, 0xf2, 0xf3, 0xf0, 0x48, 0x41, 0x4d, 0x67, 0x64, 0x2e, 0xc4, 0xc5, 0x62};
  for (unsigned n = 0; n < 150000; ++n) {
    u8 bytes[16];
    const u64 word[2] = {random(), random()};
    std::memcpy(bytes, word, 16);
    unsigned at = 0;
    for (u64 choice = random(); choice & 1 && at < 3; choice >>= 8) bytes[at++] = prefixes[(choice >> 1) % sizeof prefixes];
    if (random() % 3 == 0) {
      bytes[at++] = 0x0f;
      if (random() % 4 == 0) bytes[at++] = random() & 1 ? 0x38 : 0x3a;
    }
    bytes[at + 1] = static_cast<u8>(bytes[at + 1] & 0xdb);  // fewer forms, more repetition
    const auto size = static_cast<CodeSize>(random() % 4 == 0 ? random() % 2 : 2);
    const bool stack32 = size == CodeSize::bits64 || (random() & 1);
    for (unsigned tail = 0; tail < 3; ++tail) {
      Decoded direct, remembered;
      direct.offset = remembered.offset = static_cast<u16>(n);
      const std::size_t room = random() % 8 ? 15 : random() % 15 + 1;
      const DecodeStatus want = decode(size, stack32, {bytes, room}, direct), got = memo(size, stack32, {bytes, room}, remembered);
      ASSERT_EQ(want, got);
      if (want != DecodeStatus::need_more) expect_same(direct, remembered, bytes);
      if (HasFatalFailure()) return;
      for (unsigned i = at + 2; i < 15; ++i) bytes[i] = static_cast<u8>(random());
    }
  }
  EXPECT_GT(memo.hits(), 30000u);
}

}  // namespace
}  // namespace nagaya::engine::soft
