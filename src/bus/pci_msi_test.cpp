// Message-signalled interrupts as a driver sets them up.
#include <gtest/gtest.h>

#include "bus/device_contract_test_util.hpp"
#include "bus/pci_test_util.hpp"

namespace nagaya::bus {
namespace {

using namespace pci;
using testing::AllBars;
using Message = testing::RecordingSink::Message;

struct Messages : ::testing::Test, testing::Segment {
  static constexpr u64 table = 0xc0000400, pba = 0xc0000c00;
  Messages() {
    EXPECT_TRUE(pci.add(device, at));
    write(0x20, 0xc0000000);
    write(reg_command, command_memory | command_master, 2);
    msix = capability(cap_msix);
    msi = capability(cap_msi);
  }
  void set_vector(unsigned i, u64 address, u32 data, bool masked) {
    store(mmio, table + 16 * i, address);
    store(mmio, table + 16 * i + 4, address >> 32);
    store(mmio, table + 16 * i + 8, data);
    store(mmio, table + 16 * i + 12, masked);
  }
  AllBars device;
  u16 msix = 0, msi = 0;
};

TEST_F(Messages, MsixLayout) {
  EXPECT_EQ(read(msix + 2, 2), 39u);
  EXPECT_EQ(read(msix + 4), 0x404u);
  EXPECT_EQ(read(msix + 8), 0xc04u);
  write(msix + 2, 0xffff, 2);
  EXPECT_EQ(read(msix + 2, 2), 0xc000u | 39);
  EXPECT_EQ(load(mmio, table + 12), 1u) << "masked after reset";
  EXPECT_EQ(load(mmio, 0xc0000000 + 0x7c), 0x7c04u) << "the rest of the BAR is the device's";
}

TEST_F(Messages, MsixSendsMasksAndRemembers) {
  set_vector(3, 0xfee01000, 0x41, false);
  device.notify_msix(3);
  EXPECT_TRUE(irqs.messages.empty()) << "not enabled";
  write(msix + 2, 0x8000, 2);
  EXPECT_TRUE(device.msix_enabled());
  device.notify_msix(3);
  EXPECT_EQ(irqs.messages, (std::vector<Message>{{0xfee01000, 0x41}}));
  set_vector(39, 0x1'fee02000, 0x42, true);
  device.notify_msix(39);
  EXPECT_EQ(irqs.messages.size(), 1u);
  EXPECT_EQ(load(mmio, pba, 8), u64{1} << 39);
  EXPECT_EQ(load(mmio, pba + 4), 1u << 7);
  store(mmio, pba, 0, 8);
  EXPECT_EQ(load(mmio, pba, 8), u64{1} << 39) << "read-only";
  store(mmio, table + 16 * 39 + 12, 0);
  ASSERT_EQ(irqs.messages.size(), 2u);
  EXPECT_EQ(irqs.messages[1], (Message{0x1'fee02000, 0x42}));
  EXPECT_EQ(load(mmio, pba, 8), 0u);
  write(msix + 2, 0xc000, 2);  // the whole function
  device.notify_msix(3);
  device.notify_msix(3);
  EXPECT_EQ(irqs.messages.size(), 2u);
  EXPECT_TRUE(device.msix().vector(3).masked);
  write(msix + 2, 0x8000, 2);
  EXPECT_EQ(irqs.messages.size(), 3u) << "once, however often it was raised";
  EXPECT_EQ(device.msix().vector(3), (PciMsix::Vector{0xfee01000, 0x41, false}));
  device.notify_msix(40);
  device.notify_msix(~0u);
  EXPECT_EQ(irqs.messages.size(), 3u);
}

TEST_F(Messages, MsixTableAccessSizes) {
  store(mmio, table, 0x11112222fee00000, 8);
  EXPECT_EQ(load(mmio, table, 8), 0x11112222fee00000u);
  store(mmio, table, 0xff, 1);
  store(mmio, table + 2, 0xffffffff, 4);
  EXPECT_EQ(load(mmio, table, 8), 0x11112222fee00000u) << "odd writes are none";
  EXPECT_EQ(load(mmio, table + 2, 2), 0xfee0u);
  store(mmio, table + 8, 0x0000000100000055, 8);
  EXPECT_EQ(load(mmio, table + 8, 4), 0x55u);
  EXPECT_EQ(load(mmio, table + 39 * 16 + 12, 8), 1u) << "past the table reads zero";
  const unsigned before = device.message_changes;
  store(mmio, table + 16, 1);
  EXPECT_EQ(device.message_changes, before + 1);
}

TEST_F(Messages, MsiVectorsAndMasks) {
  EXPECT_EQ(read(msi + 2, 2), 0x0186u);
  write(msi + 4, 0xfee03003);
  write(msi + 8, 0);
  write(msi + 12, 0x1060, 2);
  write(msi + 2, 0x0021, 2);  // enabled, 4 vectors granted
  EXPECT_EQ(read(msi + 4), 0xfee03000u);
  device.notify_msi(2);
  device.notify_msi(7);  // folded into the granted four
  device.notify_msi(99);
  EXPECT_EQ(irqs.messages, (std::vector<Message>{{0xfee03000, 0x1062}, {0xfee03000, 0x1063}}));
  write(msi + 16, 0xffffffff);
  EXPECT_EQ(read(msi + 16), 0xffu);
  device.notify_msi(1);
  EXPECT_EQ(read(msi + 20), 2u);
  write(msi + 20, 0);
  EXPECT_EQ(read(msi + 20), 2u);
  write(msi + 16, 0xfd);
  EXPECT_EQ(irqs.messages.back(), (Message{0xfee03000, 0x1061}));
  EXPECT_EQ(read(msi + 20), 0u);
  write(msi + 16, 0);
  write(msi + 2, 0x0071, 2);  // more than asked for
  device.notify_msi(7);
  EXPECT_EQ(irqs.messages.back(), (Message{0xfee03000, 0x1067}));
  write(msi + 2, 0, 2);
  EXPECT_FALSE(device.msi_enabled());
}

TEST_F(Messages, SurviveSaveAndRestore) {
  set_vector(5, 0xfee04000, 0x51, true);
  write(msix + 2, 0x8000, 2);
  device.notify_msix(5);
  testing::Segment other;
  AllBars copy;
  ASSERT_TRUE(other.pci.add(copy, at));
  testing::check_round_trip(device, copy);
  EXPECT_TRUE(copy.msix_enabled());
  EXPECT_TRUE(other.irqs.messages.empty());
  store(other.mmio, table + 5 * 16 + 12, 0);
  EXPECT_EQ(other.irqs.messages, (std::vector<Message>{{0xfee04000, 0x51}}));
  copy.reset();
  EXPECT_FALSE(copy.msix_enabled());
  EXPECT_EQ(copy.msix().vector(5), PciMsix::Vector{});
}

}  // namespace
}  // namespace nagaya::bus
