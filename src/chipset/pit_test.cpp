#include "chipset/pit.hpp"

#include <gtest/gtest.h>

#include "bus/device_contract_test_util.hpp"
#include "bus/manual_clock_test_util.hpp"

namespace nagaya::chipset {
namespace {

using bus::testing::ManualClock;
using bus::testing::RecordingSink;

class PitTest : public ::testing::Test {
 protected:
  PitTest() { to_tick(100); }
  u8 in(u64 port) {
    u8 value = 0;
    target(port).io_read(port == 0x61 ? 0 : port - 0x40, std::span(&value, 1));
    return value;
  }
  void out(u64 port, u8 value) { target(port).io_write(port == 0x61 ? 0 : port - 0x40, std::span(&value, 1)); }
  bus::IoTarget& target(u64 port) { return port == 0x61 ? pit.port61() : pit.ports(); }
  void program(unsigned channel, unsigned mode, unsigned count, bool bcd = false) {
    out(0x43, static_cast<u8>(channel << 6 | 0x30 | mode << 1 | bcd));
    out(0x40 + channel, static_cast<u8>(count));
    out(0x40 + channel, static_cast<u8>(count >> 8));
  }
  unsigned latched(unsigned channel) {
    out(0x43, static_cast<u8>(channel << 6));
    const unsigned low = in(0x40 + channel);
    return low | in(0x40 + channel) << 8;
  }
  u8 status(unsigned channel) {
    out(0x43, static_cast<u8>(0xe0 | 2u << channel));
    return in(0x40 + channel);
  }
  bool out2() { return in(0x61) & 0x20; }
  /// Goes to the first nanosecond of a tick.
  void to_tick(i64 tick) { clock.advance(static_cast<u64>(pit_ns(tick)) - clock.now_ns()); }
  void ticks(i64 n) { to_tick(pit_ticks(static_cast<i64>(clock.now_ns())) + n); }

  ManualClock clock;
  RecordingSink sink;
  Pit pit{clock, bus::IrqLine(sink, 0)};
};

TEST(PitTicks, RoundTripIsExact) {
  for (i64 t : {i64{0}, i64{1}, i64{2}, i64{1193181}, i64{1193182}, i64{0x123456789abc}, i64{-5}}) {
    EXPECT_EQ(pit_ticks(pit_ns(t)), t);
    EXPECT_EQ(pit_ticks(pit_ns(t) - 1), t - 1);
  }
  EXPECT_EQ(pit_ticks(1'000'000'000), 1193182);
  EXPECT_EQ(pit_ticks(86'400'000'000'000), 1193182ll * 86400);
}

// What Linux does to learn the TSC's frequency: gate on, speaker off, mode 0, about 50 ms, poll OUT2.
TEST_F(PitTest, Channel2Mode0IsExactToTheTick) {
  out(0x61, static_cast<u8>((in(0x61) & ~2) | 1));
  constexpr unsigned count = 1193182 / 20;
  program(2, 0, count);
  EXPECT_FALSE(out2());
  const u64 begin = clock.now_ns();
  ticks(count);
  EXPECT_FALSE(out2());
  ticks(1);
  EXPECT_TRUE(out2());
  const u64 took = clock.now_ns() - begin;
  EXPECT_NEAR(static_cast<double>(took), (count + 1) * 1e9 / 1193182, 2);
  ticks(100000);
  EXPECT_TRUE(out2());
}

TEST_F(PitTest, Mode0FirstByteStopsAndControlWordLowersOutput) {
  out(0x61, 1);
  program(2, 0, 10);
  ticks(20);
  ASSERT_TRUE(out2());
  out(0x42, 50);
  EXPECT_FALSE(out2());
  ticks(1000);
  EXPECT_FALSE(out2()) << "half a count does not run";
  out(0x42, 0);
  ticks(50);
  EXPECT_FALSE(out2());
  ticks(1);
  EXPECT_TRUE(out2());
  out(0x43, 0xb0);
  EXPECT_FALSE(out2());
  EXPECT_EQ(status(2), 0x70) << "output low, no count yet, both bytes, mode 0";
}

TEST_F(PitTest, GateStopsModeZero) {
  out(0x61, 1);
  program(2, 0, 100);
  ticks(41);
  EXPECT_EQ(latched(2), 60u);
  out(0x61, 0);
  ticks(1000);
  EXPECT_EQ(latched(2), 60u);
  out(0x61, 1);
  ticks(60);
  EXPECT_TRUE(out2());
}

TEST_F(PitTest, Mode1TriggersOnGate) {
  out(0x61, 0);
  program(2, 1, 10);
  EXPECT_TRUE(out2());
  ticks(100);
  EXPECT_TRUE(out2());
  out(0x61, 1);
  ticks(1);
  EXPECT_FALSE(out2());
  out(0x61, 0);
  out(0x42, 30);  // the next shot's length
  out(0x42, 0);
  ticks(9);
  EXPECT_FALSE(out2());
  ticks(1);
  EXPECT_TRUE(out2());
  out(0x61, 1);
  ticks(30);
  EXPECT_FALSE(out2());
  ticks(1);
  EXPECT_TRUE(out2());
}

TEST_F(PitTest, Mode1CanBeTriggeredAnew) {
  program(2, 1, 10);
  out(0x61, 1);
  ticks(8);
  out(0x61, 0);
  out(0x61, 1);
  ticks(10);
  EXPECT_FALSE(out2());
  ticks(1);
  EXPECT_TRUE(out2());
}

TEST_F(PitTest, Mode2PulsesLowForOneTick) {
  out(0x61, 1);
  program(2, 2, 4);
  ticks(1);
  std::string seen;
  for (int i = 0; i < 12; ++i, ticks(1)) seen += out2() ? 'H' : 'L';
  EXPECT_EQ(seen, "HHHLHHHLHHHL");
  EXPECT_EQ(latched(2), 4u);
  ticks(1);
  EXPECT_EQ(latched(2), 3u);
}

TEST_F(PitTest, Mode2NewCountWaitsForThePeriodAndGateRestarts) {
  out(0x61, 1);
  program(2, 2, 100);
  ticks(1 + 250);
  out(0x42, 40);
  out(0x42, 0);
  EXPECT_EQ(latched(2), 50u);
  ticks(49);
  EXPECT_EQ(latched(2), 1u);
  ticks(1);
  EXPECT_EQ(latched(2), 40u);
  ticks(10);
  out(0x61, 0);
  ticks(500);
  EXPECT_TRUE(out2());
  EXPECT_EQ(latched(2), 30u);
  out(0x61, 1);
  ticks(1);
  EXPECT_EQ(latched(2), 40u);
}

TEST_F(PitTest, Mode3SquareWaveEvenAndOdd) {
  out(0x61, 1);
  for (const auto& [count, expected] : {std::pair{4u, "HHLLHHLL"}, std::pair{5u, "HHHLLHHHLL"}}) {
    program(2, 3, count);
    ticks(1);
    std::string seen;
    for (std::size_t i = 0; i < std::string(expected).size(); ++i, ticks(1)) seen += out2() ? 'H' : 'L';
    EXPECT_EQ(seen, expected);
  }
  program(2, 3, 100);
  ticks(1 + 10);
  EXPECT_EQ(latched(2), 80u);
  ticks(50);
  EXPECT_EQ(latched(2), 80u) << "counts down twice per period";
}

TEST_F(PitTest, Modes4And5StrobeOnce) {
  out(0x61, 1);
  program(2, 4, 3);
  std::string seen;
  for (int i = 0; i < 8; ++i, ticks(1)) seen += out2() ? 'H' : 'L';
  EXPECT_EQ(seen, "HHHHLHHH");
  out(0x61, 0);
  program(2, 5, 3);
  ticks(50);
  EXPECT_TRUE(out2());
  out(0x61, 1);
  seen.clear();
  for (int i = 0; i < 8; ++i, ticks(1)) seen += out2() ? 'H' : 'L';
  EXPECT_EQ(seen, "HHHHLHHH");
}

TEST_F(PitTest, BcdCounts) {
  out(0x61, 1);
  program(2, 0, 0x1000, true);
  ticks(2);
  EXPECT_EQ(latched(2), 0x999u);
  ticks(998);
  EXPECT_FALSE(out2());
  ticks(1);
  EXPECT_TRUE(out2());
  ticks(1);
  EXPECT_EQ(latched(2), 0x9999u);
  program(2, 2, 0xffff, true);  // not decimal: some count, never harm
  ticks(100000);
  latched(2);
}

TEST_F(PitTest, LatchesHoldUntilRead) {
  program(0, 2, 1000);
  ticks(101);
  out(0x43, 0x00);
  ticks(50);
  out(0x43, 0x00);  // ignored
  EXPECT_EQ(in(0x40), 900 & 0xff);
  EXPECT_EQ(in(0x40), 900 >> 8);
  out(0x43, 0xc2);  // read-back: status and count
  ticks(100);
  EXPECT_EQ(in(0x40), 0xb4);
  EXPECT_EQ(in(0x40), 850 & 0xff);
  EXPECT_EQ(in(0x40), 850 >> 8);
  EXPECT_EQ(in(0x40), 750 & 0xff) << "without a latch the live count shows, low byte first";
  EXPECT_EQ(in(0x43), 0xff);
}

TEST_F(PitTest, SingleByteAccess) {
  out(0x61, 1);
  out(0x43, 0x90);  // channel 2, low byte, mode 0
  out(0x42, 100);
  ticks(1);
  EXPECT_EQ(in(0x42), 100);
  EXPECT_EQ(in(0x42), 100);
  out(0x43, 0xa0);  // high byte
  out(0x42, 2);
  ticks(1);
  EXPECT_EQ(in(0x42), 2);
  ticks(1);
  EXPECT_EQ(in(0x42), 1);
}

TEST_F(PitTest, PeriodicInterrupts) {
  program(0, 2, 11932);  // 100 Hz
  sink.edges.clear();
  clock.advance(1'000'000'000);
  EXPECT_EQ(sink.edges[0], 99u) << "1193182 / 11932 = 99.99";
  clock.advance(9'000'000'000);
  EXPECT_EQ(sink.edges[0], 999u);
}

TEST_F(PitTest, OneShotInterruptOnce) {
  out(0x43, 0x38);  // mode 4, as Linux' one-shot clock event
  sink.edges.clear();
  for (int i = 0; i < 3; ++i) {
    out(0x40, 0xe8);
    out(0x40, 3);
    ticks(1001);
    EXPECT_EQ(sink.edges[0], static_cast<unsigned>(i));
    ticks(2);
    EXPECT_EQ(sink.edges[0], static_cast<unsigned>(i + 1));
  }
  clock.advance(1'000'000'000);
  EXPECT_EQ(sink.edges[0], 3u);
  program(0, 0, 100);
  EXPECT_FALSE(sink.lines[0]);
  ticks(101);
  EXPECT_EQ(sink.edges[0], 4u);
  EXPECT_EQ(clock.armed(), 0u);
}

TEST_F(PitTest, AbsurdRateIsBounded) {
  program(0, 2, 2);
  sink.edges.clear();
  clock.advance(1'000'000'000);
  EXPECT_LE(sink.edges[0], 10001u);
  EXPECT_GE(sink.edges[0], 9000u);
}

TEST_F(PitTest, PauseStopsTimersAndRestoreGoesOn) {
  program(0, 2, 11932);
  ticks(5000);
  sink.edges.clear();
  pit.pause();
  EXPECT_EQ(clock.armed(), 0u);
  state::Writer out_state;
  pit.save(out_state);
  ManualClock other_clock;
  other_clock.advance(777'777'777);
  RecordingSink other_sink;
  Pit other(other_clock, bus::IrqLine(other_sink, 0));
  ASSERT_TRUE(bus::testing::restored(other, out_state.bytes()));
  other_sink.edges.clear();
  other_clock.advance(static_cast<u64>(pit_ns(11932 - 5000 - 10)));
  EXPECT_EQ(other_sink.edges[0], 0u);
  other_clock.advance(static_cast<u64>(pit_ns(20)));
  EXPECT_EQ(other_sink.edges[0], 1u);
}

TEST_F(PitTest, RefreshBitToggles) {
  unsigned changes = 0;
  u8 last = in(0x61) & 0x10;
  for (int i = 0; i < 1000; ++i, clock.advance(1000)) {
    changes += (in(0x61) & 0x10) != last;
    last = in(0x61) & 0x10;
  }
  EXPECT_NEAR(changes, 66, 2);
}

TEST(PitContract, Holds) {
  ManualClock clock;
  RecordingSink sink;
  clock.advance(123'456'789);
  auto make = [&] { return std::make_unique<Pit>(clock, bus::IrqLine(sink, 0)); };
  for (u32 seed = 1; seed <= 50; ++seed) {
    auto device = make();
    bus::testing::poke_nonsense(device->ports(), 0, 4, 4, seed, 8);
    bus::testing::poke_nonsense(device->port61(), 0, 1, 4, seed, 2);
    clock.advance(seed * 1'234'567);
    bus::testing::poke_nonsense(device->ports(), 0, 4, 4, seed, 4);
    bus::testing::check_round_trip(*device, *make());
    bus::testing::check_reset(*device, *make());
  }
  auto device = make();
  bus::testing::poke_nonsense(device->ports(), 0, 4, 4);
  bus::testing::check_bad_states(*device, [&]() -> std::unique_ptr<bus::Device> { return make(); });
}

}  // namespace
}  // namespace nagaya::chipset
