#include "chipset/rtc.hpp"

#include <gtest/gtest.h>

#include "bus/device_contract_test_util.hpp"
#include "bus/manual_clock_test_util.hpp"

namespace nagaya::chipset {
namespace {

using bus::testing::ManualClock;
using bus::testing::RecordingSink;

constexpr u64 second = 1'000'000'000;
constexpr u64 wall = 1'700'000'000 * second;  // Tuesday 2023-11-14 22:13:20 UTC

class RtcTest : public ::testing::Test {
 protected:
  RtcTest() { clock.set_wall(wall); }
  u8 in(u8 index) {
    out70(index);
    u8 value = 0;
    rtc->ports().io_read(1, std::span(&value, 1));
    return value;
  }
  void out(u8 index, u8 value) {
    out70(index);
    rtc->ports().io_write(1, std::span(&value, 1));
  }
  void out70(u8 value) { rtc->ports().io_write(0, std::span(&value, 1)); }
  std::vector<unsigned> time() {
    std::vector<unsigned> t;
    for (u8 i : {0x32, 9, 8, 7, 4, 2, 0}) t.push_back(in(i));
    return t;
  }
  using T = std::vector<unsigned>;
  bool irq() { return sink.lines[8]; }

  ManualClock clock;
  RecordingSink sink;
  std::unique_ptr<Rtc> rtc = [this] {
    clock.set_wall(wall);
    return std::make_unique<Rtc>(clock, bus::IrqLine(sink, 8), RtcConfig{});
  }();
};

TEST_F(RtcTest, ReadsTheWallClockInEachFormat) {
  EXPECT_EQ(time(), (T{0x20, 0x23, 0x11, 0x14, 0x22, 0x13, 0x20}));
  EXPECT_EQ(in(6), 3) << "Tuesday";
  out(0xb, 0x06);
  EXPECT_EQ(time(), (T{20, 23, 11, 14, 22, 13, 20}));
  out(0xb, 0x00);
  EXPECT_EQ(in(4), 0x90) << "10 in the afternoon";
  clock.advance(2 * 3600 * second);
  EXPECT_EQ(in(4), 0x12) << "12 in the night";
  EXPECT_EQ(in(0xd), 0x80);
}

TEST_F(RtcTest, GuestSetsTime) {
  out(0xb, 0x82);
  for (auto [index, value] : {std::pair<u8, u8>{0, 0x58}, {2, 0x59}, {4, 0x23}, {7, 0x28}, {8, 0x02}, {9, 0x24}, {0x32, 0x20}, {6, 4}})
    out(index, value);
  clock.advance(10 * second);
  EXPECT_EQ(time(), (T{0x20, 0x24, 0x02, 0x28, 0x23, 0x59, 0x58})) << "stands while SET";
  out(0xb, 0x02);
  EXPECT_EQ(time(), (T{0x20, 0x24, 0x02, 0x28, 0x23, 0x59, 0x58}));
  clock.advance(3 * second);
  EXPECT_EQ(time(), (T{0x20, 0x24, 0x02, 0x29, 0x00, 0x00, 0x01})) << "leap day";
  EXPECT_EQ(in(6), 5) << "the weekday goes on from the guest's";
}

TEST_F(RtcTest, LinuxWaySetsTimeWithDividerReset) {
  out(0xb, 0x82);
  out(0xa, 0x76);
  out(0, 0x30);
  out(0xb, 0x02);
  clock.advance(5 * second);
  EXPECT_EQ(in(0), 0x30);
  out(0xa, 0x26);
  clock.advance(second / 2 - 1000);
  EXPECT_EQ(in(0), 0x30);
  clock.advance(2000);
  EXPECT_EQ(in(0), 0x31) << "first update half a second after the divider's release";
}

TEST_F(RtcTest, NonsenseTimesBecomeTimes) {
  for (u8 index : {0, 2, 4, 6, 7, 8, 9, 0x32}) out(index, 0xff);
  time();
  out(0xb, 0x86);
  for (u8 index : {0, 2, 4, 6, 7, 8, 9, 0x32}) out(index, 0xff);
  out(0xb, 0x06);
  EXPECT_EQ(time(), (T{99, 99, 12, 31, 23, 59, 59}));
  clock.advance(10 * second);
  time();
}

TEST_F(RtcTest, UpdateInProgressJustBeforeTheSecond) {
  EXPECT_EQ(in(0xa) & 0x80, 0);
  clock.advance(second - 244'001);
  EXPECT_EQ(in(0xa) & 0x80, 0);
  clock.advance(1);
  EXPECT_EQ(in(0xa) & 0x80, 0x80);
  EXPECT_EQ(in(0), 0x20);
  clock.advance(244'000);
  EXPECT_EQ(in(0xa) & 0x80, 0);
  EXPECT_EQ(in(0), 0x21);
}

TEST_F(RtcTest, UpdateEndedInterrupt) {
  in(0xc);
  EXPECT_EQ(clock.armed(), 0u);
  out(0xb, 0x12);
  clock.advance(second - 1);
  EXPECT_FALSE(irq());
  clock.advance(1);
  EXPECT_TRUE(irq());
  EXPECT_EQ(clock.armed(), 0u) << "no timer while the flag waits";
  EXPECT_EQ(in(0xc) & 0xb0, 0x90);
  EXPECT_FALSE(irq());
  EXPECT_EQ(in(0xc) & 0x90, 0x00);
  clock.advance(second);
  EXPECT_TRUE(irq());
}

TEST_F(RtcTest, PeriodicInterrupt) {
  out(0xa, 0x2f);  // 2 Hz
  out(0xb, 0x42);
  in(0xc);
  unsigned fired = 0;
  for (int i = 0; i < 400; ++i) {
    clock.advance(second / 100);
    if (irq()) {
      ++fired;
      EXPECT_EQ(in(0xc) & 0xc0, 0xc0);
    }
  }
  EXPECT_EQ(fired, 8u);
  out(0xa, 0x26);  // 1024 Hz
  in(0xc);
  clock.advance(second / 1024 + 1);
  EXPECT_TRUE(irq());
  out(0xb, 0x02);
  EXPECT_FALSE(irq());
  in(0xc);
  clock.advance(second);
  EXPECT_EQ(in(0xc) & 0xc0, 0x40) << "the flag is set without the interrupt too";
}

TEST_F(RtcTest, AlarmAtATime) {
  out(1, 0x05);
  out(3, 0x14);
  out(5, 0x22);
  out(0xb, 0x22);
  in(0xc);
  clock.advance(44 * second);
  EXPECT_FALSE(irq());
  clock.advance(second);
  EXPECT_TRUE(irq());
  EXPECT_EQ(in(0xc) & 0xa0, 0xa0);
  clock.advance(24 * 3600 * second - 1);
  EXPECT_FALSE(irq());
  clock.advance(1);
  EXPECT_TRUE(irq()) << "every day";
}

TEST_F(RtcTest, AlarmWithDontCare) {
  out(1, 0x00);
  out(3, 0xff);
  out(5, 0xc0);
  out(0xb, 0x22);
  in(0xc);
  unsigned fired = 0;
  for (int i = 0; i < 180; ++i) {
    clock.advance(second);
    if (irq()) {
      ++fired;
      in(0xc);
    }
  }
  EXPECT_EQ(fired, 3u) << "each minute";
  out(1, 0x7a);  // never
  in(0xc);
  clock.advance(1000 * second);
  EXPECT_FALSE(irq());
}

TEST_F(RtcTest, HostClockMayJump) {
  out(0xb, 0x32);
  clock.set_wall(wall + 400 * 86400 * second);
  clock.advance(second);
  EXPECT_EQ(in(0xc) & 0x30, 0x30);
  clock.set_wall(1);
  clock.advance(2 * second);
  in(0xc);
  EXPECT_EQ(in(9), 0x70);
  clock.advance(second);
  EXPECT_TRUE(irq());
}

TEST_F(RtcTest, CmosTellsMemory) {
  Rtc big(clock, {}, {.ram_below_4g = 0xb000'0000, .ram_above_4g = 5 * GiB, .cpus = 4});
  EXPECT_EQ(big.cmos(0x15) | big.cmos(0x16) << 8, 640);
  EXPECT_EQ(big.cmos(0x17) | big.cmos(0x18) << 8, 0xffff);
  EXPECT_EQ(big.cmos(0x34) | big.cmos(0x35) << 8, 0xaf00);
  EXPECT_EQ(big.cmos(0x5b) | big.cmos(0x5c) << 8 | big.cmos(0x5d) << 16, 0x14000);
  EXPECT_EQ(big.cmos(0x5f), 3);
}

TEST_F(RtcTest, BatteryKeepsAcrossReset) {
  out(0x0f, 0x05);
  out(0xb, 0x72);
  out70(0x80);
  EXPECT_TRUE(rtc->nmi_masked());
  clock.advance(second);
  EXPECT_TRUE(irq());
  rtc->reset();
  EXPECT_FALSE(irq());
  EXPECT_FALSE(rtc->nmi_masked());
  EXPECT_EQ(rtc->cmos(0x0f), 5);
  EXPECT_EQ(in(0xb), 0x02);
  EXPECT_EQ(clock.armed(), 0u);
}

TEST_F(RtcTest, SaveRestoreAndNonsense) {
  for (u32 seed = 1; seed <= 40; ++seed) {
    bus::testing::poke_nonsense(rtc->ports(), 0, 2, 4, seed, 100);
    clock.advance(seed * second / 7);
    Rtc copy(clock, {}, {});
    bus::testing::check_round_trip(*rtc, copy);
  }
  const auto good = bus::testing::saved(*rtc);
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(bus::testing::restored(*rtc, std::span(good).first(size)));
  }
  std::mt19937 random(3);
  for (int i = 0; i < 300; ++i) {
    auto noise = good;
    for (int n = 0; n < 8; ++n) noise[random() % noise.size()] = static_cast<u8>(random());
    (void)bus::testing::restored(*rtc, noise);
    clock.advance(second);
    time();
    in(0xc);
  }
}

TEST_F(RtcTest, RestoredClockFollowsTheWall) {
  out(0, 0x00);
  const auto bytes = bus::testing::saved(*rtc);
  ManualClock later;
  later.set_wall(wall + 3600 * second);
  Rtc copy(later, {}, {});
  ASSERT_TRUE(bus::testing::restored(copy, bytes));
  rtc = nullptr;
  u8 index = 4, value = 0;
  copy.ports().io_write(0, std::span(&index, 1));
  copy.ports().io_read(1, std::span(&value, 1));
  EXPECT_EQ(value, 0x23);
}

}  // namespace
}  // namespace nagaya::chipset
