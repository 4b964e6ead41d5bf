// Interrupts between processors, and messages to them.
#include "chipset/apic_bus.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "chipset/apic_test_util.hpp"

namespace nagaya::chipset {
namespace {

using namespace apic;
using testing::Board;

/// Which processors got vector 0x55, as a bit mask; takes it away again.
u32 receivers(Board& board) {
  u32 mask = 0;
  for (unsigned i = 0; i < board.processors.size(); ++i) {
    const int vector = board[i].lapic->acknowledge_interrupt();
    if (vector < 0) continue;
    EXPECT_EQ(vector, 0x55);
    mask |= u32{1} << i;
    std::array<u8, 4> zero{};
    board[i].lapic->mmio_write(reg_eoi, zero);
    (void)board[i].lapic->write_msr(0x80b, 0);
  }
  return mask;
}

u32 ipi(Board& board, unsigned from, u32 destination, u32 low) {
  board[from].write(reg_icr_high, destination << 24);
  board[from].write(reg_icr, low);
  return receivers(board);
}

TEST(ApicBus, PhysicalDestinations) {
  Board board(4);
  for (auto& p : board.processors) p.enable();
  EXPECT_EQ(ipi(board, 0, 2, 0x4055), 0b0100u);
  EXPECT_EQ(ipi(board, 0, 0, 0x4055), 0b0001u);
  EXPECT_EQ(ipi(board, 0, 9, 0x4055), 0u);
  EXPECT_EQ(ipi(board, 1, 0xff, 0x4055), 0b1111u);
  EXPECT_EQ(board[0].read(reg_icr) & lvt_status, 0u) << "always idle again";
  board[3].write(reg_id, 0x07000000);
  EXPECT_EQ(ipi(board, 0, 7, 0x4055), 0b1000u) << "the xAPIC id can be written";
}

TEST(ApicBus, Shorthands) {
  Board board(3);
  for (auto& p : board.processors) p.enable();
  EXPECT_EQ(ipi(board, 1, 0, 0x44055), 0b010u);
  EXPECT_EQ(ipi(board, 1, 0, 0x84055), 0b111u);
  EXPECT_EQ(ipi(board, 1, 0, 0xc4055), 0b101u);
}

TEST(ApicBus, LogicalFlatAndCluster) {
  Board board(4);
  for (unsigned i = 0; i < 4; ++i) {
    board[i].enable();
    board[i].write(reg_ldr, 1u << (24 + i));
  }
  EXPECT_EQ(ipi(board, 0, 0b0110, 0x4855), 0b0110u);
  EXPECT_EQ(ipi(board, 0, 0xff, 0x4855), 0b1111u);
  EXPECT_EQ(ipi(board, 0, 0xf0, 0x4855), 0u);
  for (unsigned i = 0; i < 4; ++i) {
    board[i].write(reg_dfr, 0x0fffffff);
    board[i].write(reg_ldr, ((i / 2) << 4 | 1u << i % 2) << 24);
  }
  EXPECT_EQ(ipi(board, 0, 0x12, 0x4855), 0b1000u);
  EXPECT_EQ(ipi(board, 0, 0x13, 0x4855), 0b1100u);
  EXPECT_EQ(ipi(board, 0, 0x03, 0x4855), 0b0011u);
  EXPECT_EQ(ipi(board, 0, 0xf1, 0x4855), 0b0101u) << "all clusters";
}

TEST(ApicBus, X2apicDestinations) {
  Board board(20);
  for (auto& p : board.processors) {
    p.enable_x2apic();
    ASSERT_TRUE(p.wrmsr(0x80f, 0x1ff));
  }
  auto send = [&](u32 destination, u32 low) {
    EXPECT_TRUE(board[0].wrmsr(0x830, u64{destination} << 32 | low));
    return receivers(board);
  };
  EXPECT_EQ(send(17, 0x55), 1u << 17);
  EXPECT_EQ(send(~u32{0}, 0x55), 0xfffffu);
  EXPECT_EQ(send(0xff, 0x55), 0u) << "FFh is an id like any other";
  EXPECT_EQ(send(1 << 16 | 0b1010, 0x855), 0b1010u << 16);
  EXPECT_EQ(send(0 << 16 | 0x8001, 0x855), 0x8001u);
  EXPECT_EQ(send(0, 0xc0055), 0xffffeu);
}

TEST(ApicBus, LowestPriorityGoesToOne) {
  Board board(3);
  for (auto& p : board.processors) {
    p.enable();
    p.write(reg_ldr, 7u << 24);
  }
  board[0].write(reg_tpr, 0x20);
  board[2].write(reg_tpr, 0x20);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(ipi(board, 0, 7, 0x4955), 0b010u);
  board[1].write(reg_svr, 0xff);  // disabled ones do not compete
  u32 all = 0;
  for (int i = 0; i < 6; ++i) {
    const u32 got = ipi(board, 0, 7, 0x4955);
    EXPECT_EQ(std::popcount(got), 1);
    all |= got;
  }
  EXPECT_EQ(all, 0b101u) << "equals take turns";
}

TEST(ApicBus, StartsProcessors) {
  Board board(3);
  board[1].enable();
  board[1].write(reg_tpr, 0x30);
  board[0].write(reg_icr, 0x000c4500);  // INIT, assert, all but self
  board[0].write(reg_icr, 0x000c8500);  // level de-assert: nothing
  board[0].write(reg_icr_high, 1 << 24);
  board[0].write(reg_icr, 0x00004609);
  EXPECT_EQ(board[0].inits, 0u);
  EXPECT_EQ(board[1].inits, 1u);
  EXPECT_EQ(board[2].inits, 1u);
  EXPECT_EQ(board[1].sipis, std::vector<u8>{9});
  EXPECT_TRUE(board[2].sipis.empty());
  EXPECT_EQ(board[1].read(reg_svr), 0xffu) << "INIT resets the APIC";
  EXPECT_EQ(board[1].read(reg_tpr), 0u);
  EXPECT_EQ(board[1].read(reg_id), 1u << 24) << "but not its id";
}

TEST(ApicBus, NmiReachesADisabledApic) {
  Board board(2);
  board[0].write(reg_icr_high, 1 << 24);
  board[0].write(reg_icr, 0x4400);
  EXPECT_EQ(board[1].nmis, 1u) << "disabled by software only";
  board[1].wrmsr(msr_apic_base, 0xfee00000);
  board[0].write(reg_icr, 0x4400);
  EXPECT_EQ(board[1].nmis, 1u);
}

TEST(ApicBus, Messages) {
  Board board(3);
  for (unsigned i = 0; i < 3; ++i) {
    board[i].enable();
    board[i].write(reg_ldr, 1u << (24 + i));
  }
  auto msi = [&](u64 address, u32 data) {
    board.bus.deliver_msi(address, data);
    return receivers(board);
  };
  EXPECT_EQ(msi(0xfee02000, 0x55), 0b100u);
  EXPECT_EQ(msi(0xfee06004, 0x55), 0b110u);
  EXPECT_EQ(std::popcount(msi(0xfee0600c, 0x55)), 1) << "redirection hint";
  EXPECT_EQ(std::popcount(msi(0xfee06004, 0x155)), 1) << "lowest priority";
  EXPECT_EQ(msi(0xfeeff000, 0x55), 0b111u);
  EXPECT_EQ(msi(0xfed02000, 0x55), 0u) << "not the APICs' megabyte";
  EXPECT_EQ(msi(0x1fee02000, 0x55), 0u);
  EXPECT_EQ(msi(0xfee02000, 0x8055), 0u) << "level that is not asserted";
  EXPECT_EQ(msi(0xfee02020, 0x55), 0u) << "extended destination 102h";
  board.bus.deliver_msi(0xfee01000, 0x400);
  EXPECT_EQ(board[1].nmis, 1u);
}

TEST(ApicBus, ManyThreadsLoseNothing) {
  Board board(2);
  for (auto& p : board.processors) p.enable();
  std::atomic<unsigned> sent = 0;
  std::atomic<bool> stop = false;
  // Each sender waits until its vector was served before it sends again: none may vanish.
  std::array<std::atomic<bool>, 256> waiting{};
  auto sender = [&](u8 vector) {
    for (int i = 0; i < 2000; ++i) {
      waiting[vector] = true;
      board.bus.deliver_msi(0xfee01000, vector);
      ++sent;
      while (waiting[vector] && !stop) std::this_thread::yield();
    }
  };
  std::vector<std::thread> threads;
  for (u8 vector : {u8{0x31}, u8{0x32}, u8{0x91}, u8{0xf1}}) threads.emplace_back(sender, vector);
  unsigned served = 0, idle = 0;
  while (served < 8000 && idle < 50'000'000) {
    if (!board[1].lapic->interrupt_pending()) {
      ++idle;
      std::this_thread::yield();
      continue;
    }
    idle = 0;
    const int vector = board[1].lapic->acknowledge_interrupt();
    if (vector < 0) continue;
    ++served;
    board[1].write(reg_eoi, 0);
    waiting[static_cast<std::size_t>(vector)] = false;
  }
  stop = true;
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(served, 8000u);
  EXPECT_EQ(sent, 8000u);
}

}  // namespace
}  // namespace nagaya::chipset
