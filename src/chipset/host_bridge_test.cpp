#include "chipset/host_bridge.hpp"

#include <gtest/gtest.h>

#include "bus/device_contract_test_util.hpp"
#include "bus/pci_test_util.hpp"

namespace nagaya::chipset {
namespace {

using bus::testing::AllBars;
using bus::testing::Segment;

constexpr u64 ecam = 0xb0000000;

struct ResetControl : bus::IoTarget {
  void io_read(u64, std::span<u8> data) override { bus::store_le(data, value); }
  void io_write(u64, std::span<const u8> data) override { value = static_cast<u8>(bus::load_le(data)); }
  u8 value = 0x33;
};

struct Bridge : ::testing::Test, Segment {
  Bridge() {
    EXPECT_TRUE(bridge.attach(ports, mmio, ecam, 256 * MiB, &reset));
    EXPECT_TRUE(pci.add(device, {0, 3, 0}));
    EXPECT_TRUE(pci.add(far, {0x12, 31, 0}));
  }
  static u32 address(u32 bus, u32 dev, u32 fn, u32 reg) { return 1u << 31 | bus << 16 | dev << 11 | fn << 8 | reg; }
  ResetControl reset;
  HostBridge bridge{pci};
  AllBars device, far{"far"};
};

TEST_F(Bridge, IsFunctionZero) {
  EXPECT_EQ(load(mmio, ecam), 0x0d578086u);
  EXPECT_EQ(load(mmio, ecam + 8) >> 8, 0x060000u);
}

TEST_F(Bridge, MechanismOne) {
  store(ports, 0xcf8, address(0, 3, 0, 0));
  EXPECT_EQ(load(ports, 0xcf8), address(0, 3, 0, 0));
  EXPECT_EQ(load(ports, 0xcfc), 0x56781234u);
  EXPECT_EQ(load(ports, 0xcfe, 2), 0x5678u);
  EXPECT_EQ(load(ports, 0xcfd, 1), 0x12u);
  store(ports, 0xcf8, address(0, 3, 0, 0x3c) | 0x7f000003);
  EXPECT_EQ(load(ports, 0xcf8), address(0, 3, 0, 0x3c)) << "reserved bits are zero";
  store(ports, 0xcfc, 0x5a, 1);
  EXPECT_EQ(load(ports, 0xcfc), 0x0000015au);
  store(ports, 0xcf8, address(0x12, 31, 0, 0));
  EXPECT_EQ(load(ports, 0xcfc), 0x56781234u);
  store(ports, 0xcf8, address(0, 3, 0, 0) & 0x7fffffff);
  EXPECT_EQ(load(ports, 0xcfc), 0xffffffffu) << "not enabled";
  store(ports, 0xcf8, address(0, 9, 0, 0));
  EXPECT_EQ(load(ports, 0xcfc, 2), 0xffffu);
  store(ports, 0xcfe, 0, 4);  // straddles the end of the window
}

TEST_F(Bridge, NarrowAccessToTheAddressIsNotIt) {
  store(ports, 0xcf8, address(0, 3, 0, 0));
  store(ports, 0xcf8, 0xff, 1);
  store(ports, 0xcfa, 0xffff, 2);
  EXPECT_EQ(load(ports, 0xcf8), address(0, 3, 0, 0));
  EXPECT_EQ(load(ports, 0xcf8, 1), 0xffu);
  store(ports, 0xcf9, 0x06, 1);
  EXPECT_EQ(reset.value, 6);
  EXPECT_EQ(load(ports, 0xcf9, 1), 6u);
  store(ports, 0xcf9, 0x0101, 2);
  EXPECT_EQ(reset.value, 6) << "only bytes reach the reset control";
}

TEST_F(Bridge, EnhancedWindow) {
  const u64 function = ecam + (3 << 15);
  EXPECT_EQ(load(mmio, function), 0x56781234u);
  EXPECT_EQ(load(mmio, function + 0x100), 0x10cu << 20 | 1u << 16 | 0xb);
  EXPECT_EQ(load(mmio, function, 8), 0x0010000056781234u);
  store(mmio, function + 0x3c, 0x77, 1);
  EXPECT_EQ(load(mmio, function + 0x3c, 1), 0x77u);
  EXPECT_EQ(load(mmio, ecam + (0x12 << 20) + (31 << 15)), 0x56781234u);
  EXPECT_EQ(load(mmio, ecam + 256 * MiB - 4), 0xffffffffu);
  EXPECT_EQ(load(mmio, function + 0xffe), 0xffff0000u) << "does not run into the next function";
}

TEST_F(Bridge, AddressIsSaved) {
  store(ports, 0xcf8, address(0, 3, 0, 0x10));
  Segment other;
  HostBridge copy(other.pci);
  ASSERT_TRUE(copy.attach(other.ports, other.mmio, ecam, 256 * MiB, nullptr));
  bus::testing::check_round_trip(bridge, copy);
  EXPECT_EQ(load(other.ports, 0xcf8), address(0, 3, 0, 0x10));
  EXPECT_EQ(load(other.ports, 0xcf9, 1), 0xffu) << "nobody resets there";
}

TEST_F(Bridge, NonsenseEverywhere) {
  struct Ports : bus::IoTarget {
    explicit Ports(Segment& s) : segment(s) {}
    void io_read(u64 at, std::span<u8> data) override { segment.ports.read(at, data); }
    void io_write(u64 at, std::span<const u8> data) override { segment.ports.write(at, data); }
    Segment& segment;
  } all(*this);
  for (u32 seed = 0; seed < 200; ++seed) bus::testing::poke_nonsense(all, 0xcf8, 8, 8, seed, 4);
  bridge.reset();
  EXPECT_EQ(load(ports, 0xcf8), 0u);
  bus::testing::check_bad_states(bridge,
                                 [&]() -> std::unique_ptr<bus::Device> { return std::make_unique<HostBridge>(pci); });
}

}  // namespace
}  // namespace nagaya::chipset
