// Counters, counted blocks, the translation log and perf's map: what they say about guests of a few instructions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>

#include <Zydis/Mnemonic.h>

#include "engine/soft/block_name.hpp"
#include "engine/soft/engine_impl.hpp"
#include "engine/soft/state_names.hpp"
#include "engine/soft/system_guest_test_util.hpp"

namespace nagaya::engine::soft {

#define EXIT "out %al, $0xf4\n"

// A loop of 100 rounds, its own block from the second on.
NAGAYA_GUEST_CODE(counted_loop, R"(
  mov $100, %ecx
  xor %eax, %eax
2: add %rcx, %rax
  mov %rax, (%rsi)
  dec %ecx
  jnz 2b
)" EXIT);
// One of everything that memory operands can meet, RSI being the first page, RDI MMIO, RBX code.
NAGAYA_GUEST_CODE(slow_ways, R"(
  mov (%rsi), %rax
  mov 0xffc(%rsi), %rax
  mov %eax, (%rdi)
  movb $0x90, (%rbx)
  invlpg (%rsi)
  mov (%rsi), %rax
  mov %cr3, %rdx
  mov %rdx, %cr3
  pushfq
  popfq
  .byte 0x06  # PUSH ES, which is none here
)");

namespace {

using testing::SystemGuest;
using ::testing::HasSubstr;
using ::testing::Not;
using namespace x86;

std::string slurp(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

const Counters& counters(SystemGuest& g) { return static_cast<SoftVcpu&>(g.vcpu()).cpu().count; }
u64 of(const Counters& c, Cause what) { return c.dispatched[static_cast<unsigned>(what)]; }
u64 of(const Counters& c, Slow what) { return c.slow[static_cast<unsigned>(what)]; }
u64 of(const Counters& c, Flush what) { return c.flush[static_cast<unsigned>(what)]; }

CpuState loop_state() {
  CpuState s = SystemGuest::kernel();
  s.gpr[RSI] = SystemGuest::data_at;
  return s;
}

TEST(Counters, CountWhatHappens) {
  SystemGuest g;
  g.code(slow_ways);
  auto s = SystemGuest::kernel();
  s.gpr[RSI] = SystemGuest::data_at, s.gpr[RDI] = 0x20000000, s.gpr[RBX] = SystemGuest::code_at + 0x800;
  g.go(s);
  ASSERT_EQ(g.vector, 6);
  const Counters& c = counters(g);
  EXPECT_EQ(of(c, Slow::crossing), 1u);
  EXPECT_EQ(of(c, Slow::mmio), 1u);
  EXPECT_EQ(of(c, Slow::special), 1u);
  EXPECT_GE(of(c, Slow::fill), 2u);
  EXPECT_EQ(of(c, Slow::fault), 0u);
  EXPECT_EQ(of(c, Flush::page), 1u);
  EXPECT_EQ(of(c, Flush::cr3), 1u);
  EXPECT_EQ(c.commits, 2u);  // MMIO and the special page
  EXPECT_EQ(c.faults[6], 1u);
  EXPECT_EQ(of(c, Cause::raise), 1u);
  EXPECT_GT(of(c, Cause::enter), 0u);
  EXPECT_GT(c.walks, 0u);
  EXPECT_GT(c.jump_misses, 0u);
  EXPECT_GT(c.leave[static_cast<unsigned>(Leave::translate)], 0u);
  const auto both = [&](ZydisMnemonic m) { return c.execute[m] + c.execute_inline[m]; };
  EXPECT_EQ(both(ZYDIS_MNEMONIC_INVLPG), 1u);
  EXPECT_EQ(c.execute_heavy[ZYDIS_MNEMONIC_OUT], 1u);

  const std::string text = g.engine().statistics();
  EXPECT_THAT(text, HasSubstr("invlpg 1"));
  EXPECT_THAT(text, HasSubstr("exception 6 1"));
  EXPECT_THAT(text, HasSubstr("page crossing 1"));
  EXPECT_THAT(text, HasSubstr("translation: "));
}

TEST(Counters, FaultsOfMemory) {
  SystemGuest g;
  g.code(counted_loop);
  g.pte(SystemGuest::data_at) = 0;
  g.go(loop_state());
  ASSERT_EQ(g.vector, 14);
  EXPECT_EQ(of(counters(g), Slow::fault), 1u);
  EXPECT_EQ(of(counters(g), Cause::memory_fault), 1u);
  EXPECT_EQ(counters(g).faults[14], 1u);
}

TEST(CountedBlocks, ExecutionsAndNothingElse) {
  for (const bool precise : {false, true}) {
    SystemGuest plain({.precise_flags = precise}), counted({.precise_flags = precise, .count_blocks = true});
    CpuState out[2];
    for (SystemGuest* g : {&plain, &counted}) {
      g->code(counted_loop);
      out[g == &counted] = g->go(loop_state());
      EXPECT_EQ(g->vector, -1);
    }
    EXPECT_EQ(out[0].gpr, out[1].gpr);
    EXPECT_EQ(out[0].rflags, out[1].rflags);
    u64 most = 0;
    for (const Block* b : static_cast<SoftEngine&>(counted.engine()).cache().blocks(0)) most = std::max(most, b->executed);
    EXPECT_EQ(most, 99u);  // the first round is the end of the block before
    for (const Block* b : static_cast<SoftEngine&>(plain.engine()).cache().blocks(0)) EXPECT_EQ(b->executed, 0u);
  }
}

TEST(EngineLog, GuestBesideHost) {
  const std::string path = ::testing::TempDir() + "nagaya-engine-log";
  {
    SystemGuest g({.count_blocks = true, .log_file = path});
    ASSERT_TRUE(g.ok());
    g.code(counted_loop);
    g.go(loop_state());
  }
  const std::string text = slurp(path);
  std::remove(path.c_str());
  EXPECT_THAT(text, HasSubstr("vcpu 0: "));
  EXPECT_THAT(text, HasSubstr("add rax, rcx"));   // the guest's
  EXPECT_THAT(text, HasSubstr("add rax, r10"));   // the host's
  EXPECT_THAT(text, HasSubstr("10000  mov ecx, 0x64"));
  EXPECT_THAT(text, HasSubstr("jmp thunk miss"));
  EXPECT_THAT(text, HasSubstr("tlb[kernel].negtag_write"));
  EXPECT_THAT(text, HasSubstr("executed 99 times"));
  // The loop is hotter than what comes before it.
  const auto loop = text.find("guest:64k:10007:10007"), start = text.find("guest:64k:10000:10000");
  ASSERT_NE(loop, std::string::npos);
  ASSERT_NE(start, std::string::npos);
  EXPECT_LT(loop, start);
  // Data behind the thunks is not taken for code.
  EXPECT_THAT(text, Not(HasSubstr(" db 0x")));
}

TEST(EngineLog, SaysWhatItCannotOpen) {
  const auto engine = create_soft_engine({.log_file = "/proc/nowhere/at/all"});
  ASSERT_FALSE(engine);
  EXPECT_THAT(engine.error().message(), HasSubstr("/proc/nowhere/at/all"));
}

TEST(PerfMap, LinesNameBlocks) {
  const std::string path = PerfMap::path();
  {
    SystemGuest g({.perf_map = true});
    ASSERT_TRUE(g.ok());
    g.code(counted_loop);
    g.go(loop_state());
    const CodeCache& cache = static_cast<SoftEngine&>(g.engine()).cache();
    std::istringstream lines(slurp(path));
    unsigned count = 0;
    u64 start, size;
    std::string name;
    while (lines >> std::hex >> start >> size >> name) {
      ++count;
      EXPECT_TRUE(cache.contains(start) && cache.contains(start + size - 1));
      EXPECT_NE(cache.find_by_pc(start), nullptr);
      EXPECT_THAT(name, ::testing::StartsWith("guest:64k:"));
    }
    EXPECT_TRUE(lines.eof());
    EXPECT_EQ(count, cache.block_count());
  }
  EXPECT_THAT(slurp(path), HasSubstr(" guest:64k:10000:10000\n"));
  std::remove(path.c_str());
}

TEST(StateNames, FieldsByOffset) {
  EXPECT_EQ(state_name(offsetof(SoftCpu, pc_base)), "pc_base");
  EXPECT_EQ(thunk_name(thunk_mem_slow), "thunk mem_slow");
  EXPECT_EQ(state_name(offsetof(SoftCpu, s) + offsetof(CpuState, gpr) + 80), "gpr.r10");
  EXPECT_EQ(state_name(offsetof(SoftCpu, tlb) + sizeof(SoftCpu::tlb[0]) + 3 * sizeof(TlbEntry) + 16), "tlb[user].host");
  EXPECT_EQ(state_name(offsetof(SoftCpu, jump)), "jump.neg_rip");
}

}  // namespace
}  // namespace nagaya::engine::soft
