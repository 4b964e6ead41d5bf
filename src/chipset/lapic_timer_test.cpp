// The three modes of the local APIC's timer, on a clock turned by hand.
#include <gtest/gtest.h>

#include "bus/device_contract_test_util.hpp"
#include "chipset/apic_test_util.hpp"

namespace nagaya::chipset {
namespace {

using namespace apic;
using testing::Board;

constexpr u32 one_shot = 0x40, periodic = 0x20040, deadline = 0x40040;

struct LapicTimer : ::testing::Test {
  LapicTimer() : board(1), cpu(board[0]) {
    cpu.enable();
    cpu.write(reg_divide, 0xb);  // by 1
  }
  Board board;
  testing::Processor& cpu;
};

TEST_F(LapicTimer, OneShotFiresOnce) {
  cpu.write(reg_lvt, one_shot);
  cpu.write(reg_initial_count, 1000);
  board.clock.advance(400);
  EXPECT_EQ(cpu.read(reg_current_count), 600u);
  board.clock.advance(599);
  EXPECT_EQ(cpu.read(reg_current_count), 1u);
  EXPECT_FALSE(cpu.lapic->interrupt_pending());
  board.clock.advance(1);
  EXPECT_EQ(cpu.serve(), 0x40);
  EXPECT_EQ(cpu.read(reg_current_count), 0u);
  EXPECT_EQ(cpu.read(reg_initial_count), 1000u);
  board.clock.advance(100000);
  EXPECT_EQ(cpu.serve(), -1);
  EXPECT_EQ(board.clock.armed(), 0u);
}

TEST_F(LapicTimer, EveryDivider) {
  const std::array<std::pair<u32, u64>, 8> dividers{
      {{0, 2}, {1, 4}, {2, 8}, {3, 16}, {8, 32}, {9, 64}, {10, 128}, {11, 1}}};
  for (auto [code, by] : dividers) {
    cpu.write(reg_divide, code);
    cpu.write(reg_lvt, one_shot);
    cpu.write(reg_initial_count, 100);
    board.clock.advance(100 * by - 1);
    EXPECT_EQ(cpu.serve(), -1) << by;
    board.clock.advance(1);
    EXPECT_EQ(cpu.serve(), 0x40) << by;
  }
}

TEST_F(LapicTimer, DividerChangesUnderWay) {
  cpu.write(reg_lvt, one_shot);
  cpu.write(reg_initial_count, 1000);
  board.clock.advance(500);
  cpu.write(reg_divide, 0);  // by 2
  EXPECT_EQ(cpu.read(reg_current_count), 500u);
  board.clock.advance(999);
  EXPECT_EQ(cpu.serve(), -1);
  board.clock.advance(1);
  EXPECT_EQ(cpu.serve(), 0x40);
}

TEST_F(LapicTimer, PeriodicKeepsItsPhase) {
  cpu.write(reg_lvt, periodic);
  cpu.write(reg_initial_count, 1'000'000);
  for (int i = 0; i < 5; ++i) {
    board.clock.advance(1'000'000);
    EXPECT_EQ(cpu.serve(), 0x40);
    EXPECT_EQ(cpu.read(reg_current_count), 1'000'000u);
  }
  board.clock.advance(2'500'000);
  EXPECT_EQ(cpu.serve(), 0x40);
  EXPECT_EQ(cpu.serve(), -1) << "two expiries of one vector merge";
  EXPECT_EQ(cpu.read(reg_current_count), 500'000u);
  cpu.write(reg_initial_count, 0);
  board.clock.advance(5'000'000);
  EXPECT_EQ(cpu.serve(), -1);
}

TEST_F(LapicTimer, AbsurdPeriodDoesNotStormTheHost) {
  cpu.write(reg_lvt, periodic);
  cpu.write(reg_initial_count, 1);
  unsigned taken = 0;
  for (int i = 0; i < 1000; ++i) {
    board.clock.advance(1000);
    taken += cpu.serve() == 0x40;
  }
  EXPECT_GE(taken, 19u);
  EXPECT_LE(taken, 22u);
  EXPECT_EQ(cpu.read(reg_current_count), 1u);
}

TEST_F(LapicTimer, OneShotAndPeriodicShareTheCount) {
  cpu.write(reg_lvt, periodic);
  cpu.write(reg_initial_count, 1000);
  board.clock.advance(1400);
  EXPECT_EQ(cpu.serve(), 0x40);
  cpu.write(reg_lvt, one_shot);
  EXPECT_EQ(cpu.read(reg_current_count), 600u);
  board.clock.advance(100'000);
  EXPECT_EQ(cpu.serve(), 0x40);
  EXPECT_EQ(cpu.read(reg_current_count), 0u);
  cpu.write(reg_lvt, periodic);
  EXPECT_EQ(cpu.read(reg_current_count), 0u) << "stays stopped";
}

TEST_F(LapicTimer, MaskedTimerCountsSilently) {
  cpu.write(reg_lvt, one_shot | lvt_masked);
  cpu.write(reg_initial_count, 1000);
  board.clock.advance(999);
  EXPECT_EQ(cpu.read(reg_current_count), 1u);
  board.clock.advance(1);
  EXPECT_EQ(cpu.read(reg_current_count), 0u);
  EXPECT_EQ(cpu.serve(), -1);
}

TEST_F(LapicTimer, DeadlineFiresAtItsTsc) {
  cpu.wrmsr(msr_tsc_deadline, board.tsc() + 10);
  EXPECT_EQ(cpu.rdmsr(msr_tsc_deadline), 0u) << "ignored in other modes";
  cpu.write(reg_lvt, deadline);
  cpu.write(reg_initial_count, 55);
  EXPECT_EQ(cpu.read(reg_initial_count), 0u);
  EXPECT_EQ(cpu.read(reg_current_count), 0u);
  const u64 at = board.tsc() + 2001;
  cpu.wrmsr(msr_tsc_deadline, at);
  EXPECT_EQ(cpu.rdmsr(msr_tsc_deadline), at);
  board.clock.advance(1000);
  EXPECT_EQ(cpu.serve(), -1) << "one cycle early";
  board.clock.advance(1);
  EXPECT_EQ(cpu.serve(), 0x40);
  EXPECT_EQ(cpu.rdmsr(msr_tsc_deadline), 0u);
  cpu.wrmsr(msr_tsc_deadline, 1);  // long past
  EXPECT_EQ(cpu.serve(), 0x40);
  cpu.wrmsr(msr_tsc_deadline, board.tsc() + 100);
  cpu.wrmsr(msr_tsc_deadline, 0);
  board.clock.advance(10000);
  EXPECT_EQ(cpu.serve(), -1);
  cpu.wrmsr(msr_tsc_deadline, ~u64{0});  // never, and no overflow on the way there
  board.clock.advance(10'000'000'000'000);
  EXPECT_EQ(cpu.serve(), -1);
}

TEST_F(LapicTimer, EarlyTimerWaitsOn) {
  cpu.write(reg_lvt, deadline);
  cpu.wrmsr(msr_tsc_deadline, board.tsc() + 2000);
  board.tsc_skew -= 500;  // the TSC is slower than the clock believes
  board.clock.advance(1000);
  EXPECT_EQ(cpu.serve(), -1);
  board.clock.advance(250);
  EXPECT_EQ(cpu.serve(), 0x40);
}

TEST_F(LapicTimer, OffsetMovesTheDeadline) {
  cpu.write(reg_lvt, deadline);
  cpu.wrmsr(msr_tsc_deadline, board.tsc() + 20000);
  cpu.lapic->set_tsc_offset(18000);
  board.clock.advance(1000);
  EXPECT_EQ(cpu.serve(), 0x40);
}

TEST_F(LapicTimer, LeavingDeadlineModeDisarms) {
  cpu.write(reg_lvt, deadline);
  cpu.wrmsr(msr_tsc_deadline, board.tsc() + 2000);
  cpu.write(reg_lvt, one_shot);
  cpu.write(reg_lvt, deadline);
  EXPECT_EQ(cpu.rdmsr(msr_tsc_deadline), 0u);
  board.clock.advance(100000);
  EXPECT_EQ(cpu.serve(), -1);
}

TEST_F(LapicTimer, PauseStopsResumeGoesOn) {
  cpu.write(reg_lvt, one_shot);
  cpu.write(reg_initial_count, 1000);
  board.clock.advance(400);
  cpu.lapic->pause();
  EXPECT_EQ(board.clock.armed(), 0u);
  cpu.lapic->resume();
  board.clock.advance(600);
  EXPECT_EQ(cpu.serve(), 0x40);
}

TEST_F(LapicTimer, RestoredCountGoesOn) {
  cpu.write(reg_lvt, periodic);
  cpu.write(reg_initial_count, 1'000'000);
  board.clock.advance(700'000);
  Board other(1);
  other.clock.advance(123'456);
  bus::testing::check_round_trip(*cpu.lapic, *other[0].lapic);
  EXPECT_EQ(other[0].read(reg_current_count), 300'000u);
  other.clock.advance(299'999);
  EXPECT_EQ(other[0].serve(), -1);
  other.clock.advance(1);
  EXPECT_EQ(other[0].serve(), 0x40);
  other.clock.advance(1'000'000);
  EXPECT_EQ(other[0].serve(), 0x40);
}

TEST_F(LapicTimer, CountOfAnotherEngineIsTakenFromThePage) {
  cpu.write(reg_lvt, one_shot);
  cpu.write(reg_initial_count, 1000);
  board.clock.advance(400);
  auto state = cpu.lapic->state();
  state.timer_remaining_ns = 0;
  Board other(1);
  ASSERT_TRUE(other[0].lapic->set_state(state, 0xfee00900));
  other.clock.advance(600);
  EXPECT_EQ(other[0].serve(), 0x40);
}

TEST_F(LapicTimer, ExpiryDuringPauseIsNotLost) {
  cpu.write(reg_lvt, one_shot);
  cpu.write(reg_initial_count, 1000);
  cpu.lapic->pause();
  board.clock.advance(5000);  // a clock that does not stand still
  auto state = cpu.lapic->state();
  EXPECT_EQ(state.timer_remaining_ns, 1u);
  cpu.lapic->resume();
  board.clock.advance(0);
  EXPECT_EQ(cpu.serve(), 0x40);
}

}  // namespace
}  // namespace nagaya::chipset
