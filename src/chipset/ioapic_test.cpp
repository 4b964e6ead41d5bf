#include "chipset/ioapic.hpp"

#include <gtest/gtest.h>

#include "bus/bytes.hpp"
#include "bus/device_contract_test_util.hpp"
#include "chipset/apic_test_util.hpp"
#include "chipset/irq_router.hpp"

namespace nagaya::chipset {
namespace {

using namespace bus::testing;
using chipset::testing::Board;

void poke(Ioapic& ioapic, u64 offset, u32 value) {
  std::array<u8, 4> data{};
  bus::store_le(data, value);
  ioapic.io_write(offset, data);
}
u32 peek(Ioapic& ioapic, u64 offset) {
  std::array<u8, 4> data{};
  ioapic.io_read(offset, data);
  return static_cast<u32>(bus::load_le(data));
}
void set(Ioapic& ioapic, u32 index, u32 value) {
  poke(ioapic, 0, index);
  poke(ioapic, 0x10, value);
}
u32 get(Ioapic& ioapic, u32 index) {
  poke(ioapic, 0, index);
  return peek(ioapic, 0x10);
}

constexpr u32 level = 1 << 15, masked = 1 << 16, remote = 1 << 14;

struct IoapicTest : ::testing::Test {
  IoapicTest() : board(2), ioapic(board.bus) {
    board.bus.on_eoi([this](u8 vector) { ioapic.end_of_interrupt(vector); });
    for (auto& p : board.processors) p.enable();
  }
  Board board;
  Ioapic ioapic;
};

TEST_F(IoapicTest, Registers) {
  EXPECT_EQ(get(ioapic, 1), 0x00170020u);
  set(ioapic, 1, 0);
  EXPECT_EQ(get(ioapic, 1), 0x00170020u);
  set(ioapic, 0, 0xffffffff);
  EXPECT_EQ(get(ioapic, 0), 0x0f000000u);
  EXPECT_EQ(get(ioapic, 2), 0x0f000000u);
  EXPECT_EQ(get(ioapic, 0x10), masked);
  set(ioapic, 0x3e, 0xffffffff);
  EXPECT_EQ(get(ioapic, 0x3e), 0x1ffffu & ~(remote | 1u << 12));
  EXPECT_EQ(get(ioapic, 0x40), 0u) << "past the table";
  EXPECT_EQ(get(ioapic, 0xff), 0u);
}

TEST_F(IoapicTest, EdgeIsSentOnceAndLostWhileMasked) {
  set(ioapic, 0x10 + 2 * 4 + 1, 1 << 24);
  set(ioapic, 0x10 + 2 * 4, 0x41);
  ioapic.set_pin(4, true);
  ioapic.set_pin(4, true);
  EXPECT_EQ(board[1].serve(), 0x41);
  EXPECT_EQ(board[1].serve(), -1);
  ioapic.set_pin(4, false);
  set(ioapic, 0x10 + 2 * 4, masked | 0x41);
  ioapic.set_pin(4, true);
  set(ioapic, 0x10 + 2 * 4, 0x41);
  EXPECT_EQ(board[1].serve(), -1);
}

TEST_F(IoapicTest, LevelWaitsForItsEoi) {
  set(ioapic, 0x10 + 2 * 17, level | 0x61);
  ioapic.set_pin(17, true);
  EXPECT_EQ(get(ioapic, 0x10 + 2 * 17), remote | level | 0x61);
  EXPECT_EQ(board[0].lapic->acknowledge_interrupt(), 0x61);
  ioapic.set_pin(17, false);
  ioapic.set_pin(17, true);
  EXPECT_FALSE(board[0].lapic->interrupt_pending());
  board[0].write(apic::reg_eoi, 0);
  EXPECT_TRUE(board[0].lapic->interrupt_pending()) << "still asserted after the EOI";
  EXPECT_EQ(board[0].lapic->acknowledge_interrupt(), 0x61);
  ioapic.set_pin(17, false);
  board[0].write(apic::reg_eoi, 0);
  EXPECT_EQ(get(ioapic, 0x10 + 2 * 17), level | 0x61);
  EXPECT_FALSE(board[0].lapic->interrupt_pending());
}

TEST_F(IoapicTest, LevelIsSentOnUnmask) {
  set(ioapic, 0x10 + 2 * 17, masked | level | 0x61);
  ioapic.set_pin(17, true);
  EXPECT_EQ(board[0].serve(), -1);
  set(ioapic, 0x10 + 2 * 17, level | 0x61);
  ioapic.set_pin(17, false);
  EXPECT_EQ(board[0].serve(), 0x61);
}

TEST_F(IoapicTest, DirectedEoiAndTheEdgeTrick) {
  board[0].write(apic::reg_svr, 0x11ff);  // no broadcasts
  set(ioapic, 0x10 + 2 * 9, level | 0x61);
  ioapic.set_pin(9, true);
  EXPECT_EQ(board[0].serve(), 0x61);
  EXPECT_EQ(board[0].serve(), -1);
  poke(ioapic, 0x40, 0x61);
  EXPECT_EQ(board[0].serve(), 0x61);
  EXPECT_TRUE(get(ioapic, 0x10 + 2 * 9) & remote);
  set(ioapic, 0x10 + 2 * 9, masked | 0x61);  // edge for a moment
  set(ioapic, 0x10 + 2 * 9, masked | level | 0x61);
  EXPECT_FALSE(get(ioapic, 0x10 + 2 * 9) & remote);
}

TEST_F(IoapicTest, LogicalLowestPriority) {
  board[0].write(apic::reg_ldr, 1 << 24);
  board[1].write(apic::reg_ldr, 2 << 24);
  board[0].write(apic::reg_tpr, 0x20);
  set(ioapic, 0x11 + 2 * 5, 3 << 24);
  set(ioapic, 0x10 + 2 * 5, 0x900 | 0x61);
  ioapic.set_pin(5, true);
  EXPECT_EQ(board[0].serve(), -1);
  EXPECT_EQ(board[1].serve(), 0x61);
}

TEST_F(IoapicTest, NobodyThereLeavesNoRemoteIrr) {
  set(ioapic, 0x11 + 2 * 5, 9 << 24);
  set(ioapic, 0x10 + 2 * 5, level | 0x61);
  ioapic.set_pin(5, true);
  EXPECT_EQ(get(ioapic, 0x10 + 2 * 5), level | 0x61);
}

TEST_F(IoapicTest, RestoredLineIsServedAtResume) {
  set(ioapic, 0x10 + 2 * 5, level | 0x61);
  auto state = ioapic.state();
  state.irr = 1 << 5;
  ioapic.set_state(state);
  EXPECT_EQ(board[0].serve(), -1);
  ioapic.resume();
  EXPECT_EQ(board[0].lapic->acknowledge_interrupt(), 0x61);
}

TEST_F(IoapicTest, AccessSizes) {
  u8 byte = 1;
  ioapic.io_write(0, std::span(&byte, 1));
  EXPECT_EQ(peek(ioapic, 0x10), 0x00170020u);
  ioapic.io_read(0x12, std::span(&byte, 1));
  EXPECT_EQ(byte, 0x17);
  std::array<u8, 8> wide{};
  ioapic.io_read(0x10, wide);
  EXPECT_EQ(bus::load_le(wide), 0x00170020u);
}

TEST(Ioapic, Contract) {
  ApicBus nobody;
  auto make = [&] { return std::make_unique<Ioapic>(nobody, 3); };
  check_device_contract<Ioapic>(make, 0, 0x60, 8, [](Ioapic& ioapic, unsigned i) {
    for (u32 pin = 0; pin < Ioapic::pins; ++pin) {
      set(ioapic, 0x10 + 2 * pin, (pin * i * 0x2345u) & 0x1ffff);
      ioapic.set_pin(pin, (pin + i) % 3 == 0);
    }
  });
}

struct Wired : ::testing::Test {
  Wired() : board(1, [this] { return pic.acknowledge(); }), ioapic(board.bus), router(pic, ioapic, board.bus) {}
  void unmask_pics() {
    const std::array<u8, 4> words{0x11, 0x30, 0x04, 0x01};
    for (unsigned i = 0; i < 4; ++i) pic.io_write(i ? 0x21 : 0x20, std::span(words).subspan(i, 1));
    const std::array<u8, 4> slave{0x11, 0x38, 0x02, 0x01};
    for (unsigned i = 0; i < 4; ++i) pic.io_write(i ? 0xa1 : 0xa0, std::span(slave).subspan(i, 1));
  }
  Pic pic{IrqRouter::elcr};
  Board board;
  Ioapic ioapic;
  IrqRouter router;
};

TEST_F(Wired, IsaLinesReachPicAndPin) {
  unmask_pics();
  router.set_line(0, true);
  EXPECT_TRUE(board[0].lapic->interrupt_pending());
  EXPECT_EQ(board[0].lapic->acknowledge_interrupt(), 0x30);
  board[0].enable();
  set(ioapic, 0x10, 0x41);
  router.set_line(0, false);
  router.set_line(0, true);
  EXPECT_EQ(board[0].lapic->acknowledge_interrupt(), 0x41);
  router.set_line(99, true);
  router.set_line(2, true);
  EXPECT_FALSE(pic.intr());
}

TEST_F(Wired, PciLinesShareAPicInput) {
  unmask_pics();
  router.set_line(16, true);
  router.set_line(18, true);
  EXPECT_EQ(board[0].lapic->acknowledge_interrupt(), 0x3a);
  router.set_line(16, false);
  const u8 eoi = 0x20;
  pic.io_write(0xa0, std::span(&eoi, 1));
  pic.io_write(0x20, std::span(&eoi, 1));
  EXPECT_TRUE(pic.intr()) << "18 is still asserted";
  router.set_line(18, false);
  EXPECT_FALSE(pic.intr());
  EXPECT_FALSE(board[0].lapic->interrupt_pending());
}

TEST_F(Wired, MessagesGoToTheApics) {
  board[0].enable();
  router.send_msi(0xfee00000, 0x55);
  EXPECT_EQ(board[0].serve(), 0x55);
}

}  // namespace
}  // namespace nagaya::chipset
