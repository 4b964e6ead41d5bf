#include "chipset/pic.hpp"

#include <gtest/gtest.h>

#include "bus/bytes.hpp"
#include "bus/device_contract_test_util.hpp"

namespace nagaya::chipset {
namespace {

using namespace bus::testing;

void out(Pic& pic, u64 port, u8 value) { pic.io_write(port, std::span(&value, 1)); }
u8 in(Pic& pic, u64 port) {
  u8 value = 0;
  pic.io_read(port, std::span(&value, 1));
  return value;
}

/// As Linux's init_8259A does.
void init_like_linux(Pic& pic, u8 icw4 = 0x01) {
  out(pic, 0x21, 0xff);
  out(pic, 0x20, 0x11);
  out(pic, 0x21, 0x30);
  out(pic, 0x21, 0x04);
  out(pic, 0x21, icw4);
  out(pic, 0xa0, 0x11);
  out(pic, 0xa1, 0x38);
  out(pic, 0xa1, 0x02);
  out(pic, 0xa1, 0x01);
  out(pic, 0x21, 0x00);
  out(pic, 0xa1, 0x00);
}

struct PicTest : testing::Test {
  PicTest() {
    pic.on_intr([this](bool level) {
      intr = level;
      ++changes;
    });
    init_like_linux(pic);
  }
  Pic pic;
  bool intr = false;
  int changes = 0;
};

TEST_F(PicTest, EdgeIsLatchedServedAndEnded) {
  pic.set_irq(4, true);
  pic.set_irq(4, false);  // a pulse is enough
  EXPECT_TRUE(intr);
  EXPECT_EQ(in(pic, 0x20), 0x10);  // IRR
  EXPECT_EQ(pic.acknowledge(), 0x34);
  EXPECT_FALSE(intr);
  out(pic, 0x20, 0x0b);
  EXPECT_EQ(in(pic, 0x20), 0x10);  // ISR
  pic.set_irq(4, true);
  EXPECT_FALSE(intr) << "equal priority in service";
  out(pic, 0x20, 0x64);  // specific EOI of 4
  EXPECT_TRUE(intr);
  EXPECT_EQ(pic.acknowledge(), 0x34);
  out(pic, 0x20, 0x20);
  EXPECT_FALSE(intr) << "the line is still high, but there was no new edge";
}

TEST_F(PicTest, PriorityNests) {
  pic.set_irq(5, true);
  EXPECT_EQ(pic.acknowledge(), 0x35);
  pic.set_irq(7, true);
  EXPECT_FALSE(intr);
  pic.set_irq(1, true);
  EXPECT_TRUE(intr);
  EXPECT_EQ(pic.acknowledge(), 0x31);
  out(pic, 0x20, 0x20);  // ends 1
  EXPECT_FALSE(intr);
  out(pic, 0x20, 0x20);  // ends 5
  EXPECT_EQ(pic.acknowledge(), 0x37);
}

TEST_F(PicTest, SlaveGoesThroughCascade) {
  pic.set_irq(14, true);
  EXPECT_TRUE(intr);
  EXPECT_EQ(pic.acknowledge(), 0x3e);
  out(pic, 0x20, 0x0b);
  out(pic, 0xa0, 0x0b);
  EXPECT_EQ(in(pic, 0x20), 0x04);
  EXPECT_EQ(in(pic, 0xa0), 0x40);
  pic.set_irq(8, true);
  EXPECT_FALSE(intr) << "the master has the cascade in service";
  out(pic, 0x20, 0x62);
  EXPECT_TRUE(intr);
  EXPECT_EQ(pic.acknowledge(), 0x38);
  out(pic, 0xa0, 0x60);
  out(pic, 0xa0, 0x66);
  out(pic, 0x20, 0x62);
  EXPECT_FALSE(intr);
}

TEST_F(PicTest, SpecialFullyNestedLetsTheSlaveNest) {
  init_like_linux(pic, 0x11);
  pic.set_irq(14, true);
  EXPECT_EQ(pic.acknowledge(), 0x3e);
  pic.set_irq(8, true);
  EXPECT_TRUE(intr);
  EXPECT_EQ(pic.acknowledge(), 0x38);
}

TEST_F(PicTest, MaskHidesAndKeepsTheRequest) {
  out(pic, 0x21, 0x10);
  pic.set_irq(4, true);
  EXPECT_FALSE(intr);
  EXPECT_EQ(in(pic, 0x21), 0x10);
  out(pic, 0x21, 0);
  EXPECT_TRUE(intr);
  out(pic, 0x21, 0xff);
  EXPECT_FALSE(intr);
}

TEST_F(PicTest, RequestThatHasGoneIsSpurious) {
  pic.set_irq(3, true);
  out(pic, 0x21, 0xff);
  EXPECT_EQ(pic.acknowledge(), 0x37);
  out(pic, 0x20, 0x0b);
  EXPECT_EQ(in(pic, 0x20), 0) << "a spurious interrupt is not in service";
  // A saved state may hold a cascade latched for a slave that asks no more: spurious at the slave.
  auto state = pic.state();
  state[0].irr = 0x04;
  state[0].imr = 0;
  state[1].irr = 0;
  pic.set_state(state);
  EXPECT_TRUE(intr);
  EXPECT_EQ(pic.acknowledge(), 0x3f);
}

TEST_F(PicTest, LevelTriggeredFollowsItsLine) {
  out(pic, 0x4d1, 0x0c);
  EXPECT_EQ(in(pic, 0x4d1), 0x0c);
  out(pic, 0x4d0, 0xff);
  EXPECT_EQ(in(pic, 0x4d0), 0xf8) << "timer, keyboard and cascade stay edge-triggered";
  pic.set_irq(11, true);
  EXPECT_EQ(pic.acknowledge(), 0x3b);
  EXPECT_FALSE(intr);
  out(pic, 0xa0, 0x20);
  out(pic, 0x20, 0x20);
  EXPECT_TRUE(intr) << "still high";
  pic.set_irq(11, false);
  EXPECT_FALSE(intr);
}

TEST_F(PicTest, PollAcknowledges) {
  pic.set_irq(6, true);
  out(pic, 0x20, 0x0c);
  EXPECT_EQ(in(pic, 0x20), 0x86);
  EXPECT_FALSE(intr);
  out(pic, 0x20, 0x0c);
  EXPECT_EQ(in(pic, 0x20), 0x07) << "nothing requested";
  out(pic, 0x20, 0x0b);
  EXPECT_EQ(in(pic, 0x20), 0x40);
}

TEST_F(PicTest, SpecialMaskLetsLowerPriorityThrough) {
  pic.set_irq(1, true);
  EXPECT_EQ(pic.acknowledge(), 0x31);
  pic.set_irq(6, true);
  EXPECT_FALSE(intr);
  out(pic, 0x21, 0x02);
  out(pic, 0x20, 0x68);
  EXPECT_TRUE(intr);
  EXPECT_EQ(pic.acknowledge(), 0x36);
  out(pic, 0x20, 0x20);  // ends 6: the masked 1 is skipped
  out(pic, 0x20, 0x0b);
  EXPECT_EQ(in(pic, 0x20), 0x02);
}

TEST_F(PicTest, RotationsMovePriority) {
  pic.set_irq(3, true);
  EXPECT_EQ(pic.acknowledge(), 0x33);
  out(pic, 0x20, 0xa0);  // rotate on non-specific EOI: 3 is lowest now
  pic.set_irq(3, false);
  pic.set_irq(3, true);
  pic.set_irq(4, true);
  EXPECT_EQ(pic.acknowledge(), 0x34);
  out(pic, 0x20, 0xe4);  // rotate on specific EOI
  EXPECT_EQ(pic.acknowledge(), 0x33);
  out(pic, 0x20, 0x63);
  out(pic, 0x20, 0xc7);  // set priority: 7 lowest, 0 highest again
  pic.set_irq(5, true);
  pic.set_irq(0, true);
  EXPECT_EQ(pic.acknowledge(), 0x30);
}

TEST_F(PicTest, AutoEoiRotatesWhenTold) {
  init_like_linux(pic, 0x03);
  out(pic, 0x20, 0x80);
  pic.set_irq(3, true);
  pic.set_irq(4, true);
  EXPECT_EQ(pic.acknowledge(), 0x33);
  out(pic, 0x20, 0x0b);
  EXPECT_EQ(in(pic, 0x20), 0);
  pic.set_irq(3, false);
  pic.set_irq(3, true);
  EXPECT_EQ(pic.acknowledge(), 0x34) << "3 became the lowest";
  EXPECT_EQ(pic.acknowledge(), 0x33);
}

TEST_F(PicTest, InitializationForgetsRequestsAndMask) {
  pic.set_irq(4, true);
  out(pic, 0x21, 0xaa);
  out(pic, 0x20, 0x11);
  EXPECT_FALSE(intr);
  out(pic, 0x21, 0x08);
  out(pic, 0x21, 0x04);
  out(pic, 0x21, 0x01);
  EXPECT_EQ(in(pic, 0x21), 0) << "ICW1 clears the mask";
  out(pic, 0x21, 0x5a);
  EXPECT_EQ(in(pic, 0x21), 0x5a);
}

TEST_F(PicTest, WideAccessIsOneForEachPort) {
  const std::array<u8, 2> word{0x0b, 0x77};
  pic.io_write(0x20, word);
  EXPECT_EQ(in(pic, 0x21), 0x77);
  std::array<u8, 4> wide{};
  pic.io_read(0x20, wide);
  EXPECT_EQ(wide[1], 0x77);
  EXPECT_EQ(wide[2], 0xff);
}

TEST(Pic, AttachesItsPorts) {
  Pic pic(0x0c00);
  bus::AddressMap ports;
  ASSERT_TRUE(pic.attach(ports));
  std::array<u8, 1> value{};
  ports.read(0x4d1, value);
  EXPECT_EQ(value[0], 0x0c);
  EXPECT_TRUE(ports.claims(0x20) && ports.claims(0x21) && ports.claims(0xa0) && ports.claims(0xa1));
  EXPECT_FALSE(pic.attach(ports));
}

TEST(Pic, RestoreDrivesItsOutput) {
  Pic from, to;
  init_like_linux(from);
  from.set_irq(4, true);
  bool intr = false;
  to.on_intr([&](bool level) { intr = level; });
  check_round_trip(from, to);
  EXPECT_TRUE(intr);
  EXPECT_EQ(to.acknowledge(), 0x34);
}

TEST(Pic, Contract) {
  auto make = [] { return std::make_unique<Pic>(0x0c00); };
  auto drive = [](Pic& pic, unsigned i) {
    if (i % 3) init_like_linux(pic, static_cast<u8>(i));
    for (unsigned irq = 0; irq < 16; ++irq) pic.set_irq(irq, (i * 7 + irq) % 3 == 0);
    if (i % 4 == 1) (void)pic.acknowledge();
  };
  check_device_contract<Pic>(make, 0x20, 2, 4, drive);
  check_device_contract<Pic>(make, 0xa0, 2, 4, drive);
  check_device_contract<Pic>(make, 0x4d0, 2, 4, drive);
}

}  // namespace
}  // namespace nagaya::chipset
