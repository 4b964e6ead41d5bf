// The bound on translated code: a program larger than the cache runs to its end, again and again.
#include <gtest/gtest.h>

#include "engine/soft/code_cache.hpp"
#include "engine/soft/mini_guest_test_util.hpp"

namespace nagaya::engine::soft {
namespace {

using testing::MiniGuest;
using namespace x86;

constexpr u64 program_at = 0x200000, pages = 1024, rounds = 3, steps = 100;

u64 statistic(const std::string& all, const std::string& name) {
  const std::size_t at = all.find(name + ": ");
  return at == std::string::npos ? ~0ull : std::stoull(all.substr(at + name.size() + 2));
}

void put32(std::vector<u8>& out, u64 v) {
  for (int i = 0; i < 4; ++i) out.push_back(static_cast<u8>(v >> (8 * i)));
}

/// Adds constants, counts odd sums, calls a function that every page shares, goes on to the next page.
std::vector<u8> page_of(u64 page, u64 function) {
  std::vector<u8> c;
  const u64 base = program_at + page * 4096;
  for (u64 i = 0; i < steps; ++i) {
    c.insert(c.end(), {0x48, 0x05});  // add rax, imm
    put32(c, page * 31 + i);
    c.insert(c.end(), {0xa8, 0x01, 0x74, 0x03, 0x48, 0xff, 0xc2});  // test al, 1; jz +3; inc rdx
  }
  c.push_back(0xe8);  // call function
  put32(c, function - (base + c.size() + 4));
  c.push_back(0xe9);  // jmp to the next page
  put32(c, base + 4096 - (base + c.size() + 4));
  return c;
}

TEST(CodeCache, ProgramLargerThanTheCache) {
  MiniGuest g({.code_cache_bytes = MiB});
  ASSERT_TRUE(g.ok());
  g.code({0x48, 0xff, 0xc3, 0xc3});  // inc rbx; ret
  for (u64 p = 0; p < pages; ++p) {
    const auto bytes = page_of(p, MiniGuest::code_at);
    std::memcpy(g.ram() + program_at + p * 4096, bytes.data(), bytes.size());
  }
  std::vector<u8> end{0xff, 0xc9, 0x0f, 0x85};  // dec ecx; jnz program
  const u64 after = program_at + pages * 4096;
  put32(end, program_at - (after + end.size() + 4));
  end.insert(end.end(), {0xe6, 0xf4});
  std::memcpy(g.ram() + after, end.data(), end.size());

  u64 sum = 0, odd = 0;
  for (u64 r = 0; r < rounds; ++r)
    for (u64 p = 0; p < pages; ++p)
      for (u64 i = 0; i < steps; ++i) sum += p * 31 + i, odd += sum & 1;

  auto s = MiniGuest::long_mode();
  s.rip = program_at;
  s.gpr[RAX] = s.gpr[RBX] = s.gpr[RDX] = 0;
  s.gpr[RCX] = rounds;
  const auto out = g.run(s);
  EXPECT_EQ(g.last_exit.reason, ExitReason::kicked);
  EXPECT_EQ(out.gpr[RAX], sum);
  EXPECT_EQ(out.gpr[RDX], odd);
  EXPECT_EQ(out.gpr[RBX], pages * rounds);
  const std::string all = g.engine().statistics();
  EXPECT_GT(statistic(all, "segments evicted"), 8u);
  EXPECT_LE(statistic(all, "code bytes"), MiB);
  EXPECT_LE(statistic(all, "record bytes"), MiB);
}

/// A program that goes round in more than what is in turn at first gets more of the cache, once.
TEST(CodeCache, GrowsWhenBlocksAreMadeAgain) {
  auto cache = CodeCache::create(64 * MiB);
  ASSERT_TRUE(cache);
  CodeCache& c = **cache;
  const unsigned first = c.active_segments();
  ASSERT_LT(first, c.segment_count());
  const std::vector<u8> code(32 * KiB, 0xcc);
  u64 base = 0;
  const auto round = [&](u64 blocks) {
    u64 evictions = 0;
    for (u64 i = 0; i < blocks; ++i) {
      while (!c.reserve()) {
        const unsigned segment = c.next_segment();
        for (Block* b : c.blocks(segment)) c.evicting(*b);
        c.clear(segment);
        ++evictions;
      }
      Block& b = c.make<Block>();
      b.gpa = (base + i) * 64;
      c.commit(code.data(), static_cast<u32>(code.size()), b);
    }
    return evictions;
  };
  const u64 blocks = 40 * MiB / code.size();
  EXPECT_GT(round(blocks), 0u);
  EXPECT_EQ(c.active_segments(), first);  // nothing was made twice
  for (int i = 0; i < 4; ++i) round(blocks);
  EXPECT_GT(c.active_segments(), first);
  EXPECT_LE(c.code_bytes(), 64 * MiB);
  // At rest, one after the other goes back, the first filled first; what is left holds its blocks.
  const unsigned grown = c.active_segments();
  u64 kept = c.block_count();
  for (unsigned given = 1; c.may_shrink(); ++given) {
    const unsigned segment = c.oldest();
    kept -= c.blocks(segment).size();
    c.clear(segment);
    c.give_back(segment);
    ASSERT_EQ(c.active_segments(), grown - given);
    EXPECT_TRUE(c.blocks(segment).empty());
  }
  EXPECT_LT(c.active_segments(), first);
  EXPECT_EQ(c.block_count(), kept);
  EXPECT_GT(kept, 0u);
  for (int i = 0; i < 4; ++i) round(blocks);
  EXPECT_GT(c.active_segments(), first);
  // Code that is always new does not need so much.
  for (int i = 0; i < 4; ++i) {
    for (u64 n = 0; n < 3000; ++n) round(1), ++base;
  }
  EXPECT_EQ(c.active_segments(), first);
}

/// The same program is small in a large cache: nothing is made twice.
TEST(CodeCache, NothingIsEvictedWithoutNeed) {
  MiniGuest g;
  ASSERT_TRUE(g.ok());
  const auto bytes = page_of(0, MiniGuest::code_at);
  g.code({0x48, 0xff, 0xc3, 0xc3});
  std::memcpy(g.ram() + program_at, bytes.data(), bytes.size());
  std::memcpy(g.ram() + program_at + 4096, "\xff\xc9\x0f\x85\xf8\xef\xff\xff\xe6\xf4", 10);
  auto s = MiniGuest::long_mode();
  s.rip = program_at;
  s.gpr[RBX] = 0;
  s.gpr[RCX] = 1000;
  const auto out = g.run(s);
  EXPECT_EQ(out.gpr[RBX], 1000u);
  EXPECT_EQ(statistic(g.engine().statistics(), "segments evicted"), 0u);
  EXPECT_LT(statistic(g.engine().statistics(), "blocks translated"), 200u);
}

}  // namespace
}  // namespace nagaya::engine::soft
