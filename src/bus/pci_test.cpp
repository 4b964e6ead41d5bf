// Configuration space, BARs and wires.
#include <gtest/gtest.h>

#include "bus/device_contract_test_util.hpp"
#include "bus/pci_test_util.hpp"

namespace nagaya::bus {
namespace {

using namespace pci;
using testing::AllBars;

struct Pci : ::testing::Test, testing::Segment {
  Pci() { EXPECT_TRUE(pci.add(device, at)); }
  AllBars device;
};

TEST_F(Pci, IdsCannotBeChanged) {
  EXPECT_EQ(read(0), 0x56781234u);
  write(0, 0);
  EXPECT_EQ(read(0), 0x56781234u);
  EXPECT_EQ(read(8), 0x08800003u);
  EXPECT_EQ(read(0x2c), 0xbbbbaaaau);
  EXPECT_EQ(read_at({0, 4, 0}, 0), ~u32{0}) << "nobody there";
  EXPECT_EQ(read_at({0, 3, 1}, 0), ~u32{0});
  EXPECT_EQ(read_at({1, 3, 0}, 0), ~u32{0});
  EXPECT_EQ(read(2, 2), 0x5678u);
  EXPECT_EQ(read(3, 1), 0x56u);
  EXPECT_EQ(read(1, 4), 0x03567812u & 0x00ffffffu) << "an odd access gives those bytes (command is 0)";
}

TEST_F(Pci, SizesOfBars) {
  for (u16 i = 0; i < 6; ++i) write(static_cast<u16>(0x10 + 4 * i), ~u32{0});
  EXPECT_EQ(read(0x10), 0xfffff000u);
  EXPECT_EQ(read(0x14), 0xffffffe1u);
  EXPECT_EQ(read(0x18), 0xfff0000cu);
  EXPECT_EQ(read(0x1c), 0xffffffffu);
  EXPECT_EQ(read(0x24), 0u) << "no BAR 5";
  EXPECT_EQ(read(0x30), 0u) << "no ROM";
}

TEST_F(Pci, BarsAnswerWhileDecodingIsOn) {
  write(0x10, 0xc0000000);
  write(0x14, 0xc041);
  write(0x18, 0x00100000);
  write(0x1c, 0x00000010);
  EXPECT_FALSE(mmio.claims(0xc0000000));
  write(reg_command, command_memory, 2);
  EXPECT_EQ(load(mmio, 0xc0000004), 0x400u);
  EXPECT_EQ(load(mmio, 0x1000100000), 2u);
  EXPECT_FALSE(ports.claims(0xc040));
  write(reg_command, command_io, 1);
  EXPECT_FALSE(mmio.claims(0xc0000000));
  EXPECT_EQ(load(ports, 0xc040), 1u);
  write(0x14, 0xd000);
  EXPECT_FALSE(ports.claims(0xc040));
  EXPECT_TRUE(ports.claims(0xd000));
  EXPECT_EQ(device.moves.back(), (std::pair<unsigned, std::optional<u64>>{1, 0xd000}));
  write(0x14, 0x1d000);
  EXPECT_FALSE(ports.claims(0xd000)) << "past the last port";
  EXPECT_EQ(device.moves.back(), (std::pair<unsigned, std::optional<u64>>{1, std::nullopt}));
  store(mmio, 0xc0000000, 5);
  EXPECT_EQ(device.value, 0u);
}

TEST_F(Pci, CollisionsAreHarmless) {
  struct Owner : IoTarget {
    void io_read(u64, std::span<u8> data) override { store_le(data, 0x77); }
    void io_write(u64, std::span<const u8>) override {}
  } owner;
  ASSERT_TRUE(mmio.add(0xfec00000, 0x1000, owner, "ioapic"));
  AllBars second("second");
  ASSERT_TRUE(pci.add(second, {0, 4, 0}));
  write(reg_command, command_memory, 2);
  write(0x10, 0xfec00000);
  EXPECT_EQ(load(mmio, 0xfec00000), 0x77u);
  EXPECT_EQ(device.bar(0).mapped, std::nullopt);
  // Over one another: the first to come stays, the other appears when it leaves.
  write(0x10, 0xc0000000);
  at.device = 4;
  write(reg_command, command_memory, 2);
  second.value = 0x40;
  write(0x10, 0xc0000000);
  EXPECT_EQ(load(mmio, 0xc0000000), 0u);
  EXPECT_EQ(second.bar(0).mapped, std::nullopt);
  at.device = 3;
  write(0x10, 0xc1000000);
  EXPECT_EQ(load(mmio, 0xc0000000), 0x40u);
  // At the very end, and wrapping.
  write(0x18, 0xfff00000);
  write(0x1c, 0xffffffff);
  EXPECT_EQ(load(mmio, 0xfffffffffff00000), 2u);
  pci.remove({0, 4, 0});
  EXPECT_FALSE(mmio.claims(0xc0000000));
}

TEST_F(Pci, RegisterMasks) {
  write(reg_command, 0xffff, 2);
  EXPECT_EQ(read(reg_command, 2), 0x547u);
  EXPECT_TRUE(device.bus_master());
  write(reg_status, 0xffff, 2);
  EXPECT_EQ(read(reg_status, 2), status_capabilities);
  write(reg_interrupt_line, 0xffff, 2);
  EXPECT_EQ(read(reg_interrupt_line, 2), 0x01ffu) << "the pin is read-only";
  EXPECT_EQ(device.written.back(), reg_interrupt_line);
}

TEST_F(Pci, Capabilities) {
  EXPECT_EQ(capability(cap_msix), 0x40u);
  EXPECT_EQ(capability(cap_msi), 0x4cu);
  EXPECT_EQ(capability(cap_vendor), device.vendor_at);
  EXPECT_EQ(device.vendor_at % 4, 0);
  EXPECT_EQ(capability(0x11 + 1), 0u);
  write(device.vendor_at + 4, 0xff, 1);
  EXPECT_EQ(read(device.vendor_at + 4, 1), 0x0fu);
  EXPECT_EQ(read(0x100), 0x10cu << 20 | 1u << 16 | 0xb);
  EXPECT_EQ(read(0x10c), 2u << 16 | 0xb);
  EXPECT_EQ(read(0xffe, 2), 0u);
  EXPECT_EQ(read(0xffe, 4), 0xffff0000u) << "past the end";
}

TEST_F(Pci, WiresAreSwizzledAndShared) {
  AllBars other("other");
  ASSERT_TRUE(pci.add(other, {0, 7, 0}));  // same wire: 3 and 7 modulo 4
  EXPECT_EQ(pci.gsi({0, 3, 0}, 1), 19u);
  EXPECT_EQ(pci.gsi({0, 3, 0}, 2), 16u);
  device.set_intx(true);
  EXPECT_TRUE(irqs.lines[19]);
  EXPECT_EQ(read(reg_status, 2) & status_interrupt, status_interrupt);
  other.set_intx(true);
  device.set_intx(false);
  EXPECT_TRUE(irqs.lines[19]) << "the other holds it";
  EXPECT_EQ(irqs.edges[19], 1u);
  other.set_intx(false);
  EXPECT_FALSE(irqs.lines[19]);
  device.set_intx(true);
  write(reg_command, command_intx_off, 2);
  EXPECT_FALSE(irqs.lines[19]);
  EXPECT_EQ(read(reg_status, 2) & status_interrupt, status_interrupt) << "shown even so";
  write(reg_command, 0, 2);
  EXPECT_TRUE(irqs.lines[19]);
  pci.remove(at);
  EXPECT_FALSE(irqs.lines[19]);
}

TEST_F(Pci, PlacesAndFunctions) {
  AllBars second("second"), third("third");
  EXPECT_FALSE(pci.add(second, at)) << "taken";
  EXPECT_FALSE(pci.add(second, {0, 5, 1})) << "no function 0";
  EXPECT_FALSE(pci.add(second, {0, 32, 0}));
  EXPECT_TRUE(pci.add(second, {0, 3, 2}));
  EXPECT_FALSE(pci.add(second, {0, 6, 0})) << "plugged in twice";
  EXPECT_EQ(read(reg_header_type, 1), 0x80u);
  device.reset();
  EXPECT_EQ(read(reg_header_type, 1), 0x80u);
  {
    AllBars passing("passing");
    EXPECT_TRUE(pci.add(passing, {0, 9, 0}));
    EXPECT_EQ(read_at({0, 9, 0}, 0), 0x56781234u);
  }
  EXPECT_EQ(read_at({0, 9, 0}, 0), ~u32{0}) << "left when destroyed";
}

TEST(PciDevice, WrongConstructionIsAnError) {
  struct Wrong : PciDevice {
    explicit Wrong(int how) : PciDevice("wrong", {}) {
      switch (how) {
        case 0:
          add_bar(0, BarKind::memory32, 4095);
          break;
        case 1:
          add_bar(5, BarKind::memory64, 4096);
          break;
        case 2:
          add_bar(0, BarKind::memory64, 4096), add_bar(1, BarKind::io, 16);
          break;
        case 3:
          add_bar(0, BarKind::memory32, 4096), add_msix(300, 0, 0, 0x800);
          break;
        case 4:
          add_bar(0, BarKind::memory32, 4096), add_msix(16, 0, 0, 8);
          break;
        case 5:
          add_msi(3);
          break;
        case 6:
          add_capability(9, 0xc1);
          break;
        case 7:
          add_extended_capability(9, 1, 0xf01);
          break;
        case 8:
          add_bar(0, BarKind::io, 512);
          break;
        case 9:
          add_msix(1, 2, 0, 8);
          break;
        default:
          break;
      }
    }
    u32 state_version() const override { return 1; }
    void pause() override {}
    void resume() override {}
    void bar_read(unsigned, u64, std::span<u8>) override {}
    void bar_write(unsigned, u64, std::span<const u8>) override {}
    void reset_device() override {}
    void save_device(state::Writer&) const override {}
    void restore_device(state::Reader&) override {}
  };
  testing::Segment segment;
  for (int how = 0; how < 10; ++how) {
    Wrong wrong(how);
    EXPECT_FALSE(segment.pci.add(wrong, segment.at)) << how;
  }
  Wrong right(-1);
  EXPECT_TRUE(segment.pci.add(right, segment.at));
  EXPECT_EQ(segment.read(0x100), ~u32{0}) << "no extended capabilities, no extended space";
}

TEST_F(Pci, AssignAndProgram) {
  AllBars second("second");
  ASSERT_TRUE(pci.add(second, {0, 4, 0}));
  Resources resources{{"ports", 0xc000, 0xffff},
                      {"mmio32", 0xc0000000, 0xfebfffff},
                      {"mmio64", 64 * GiB, 128 * GiB - 1},
                      GsiAllocator(0)};
  ASSERT_TRUE(pci.assign(resources));
  pci.program();
  EXPECT_EQ(read(0x18), 0xc000000cu) << "largest first";
  EXPECT_EQ(read(0x14) & ~0x20u, 0xc001u);
  EXPECT_EQ(read(reg_command, 2), command_io | command_memory);
  EXPECT_EQ(read(reg_interrupt_line, 1), 11u);
  EXPECT_TRUE(device.bar(0).mapped && second.bar(0).mapped && device.bar(2).mapped);
  const auto first = device.bar(0).mapped;
  device.reset();
  EXPECT_EQ(device.bar(0).mapped, std::nullopt);
  pci.program();
  EXPECT_EQ(device.bar(0).mapped, first);
  AllBars third("third");
  ASSERT_TRUE(pci.add(third, {0, 5, 0}));
  Resources none{{"ports", 0xc000, 0xc00f}, {"mmio32", 0, 0xffffff}, {"mmio64", 0, 0}, GsiAllocator(0)};
  auto result = pci.assign(none);
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message().find("third"), std::string::npos);
}

TEST_F(Pci, SavedStateMapsAgain) {
  write(0x10, 0xc0000000);
  write(reg_command, 7, 2);
  write(device.vendor_at + 4, 5, 1);
  device.set_intx(true);
  store(mmio, 0xc0000000, 0x99);
  testing::Segment other;
  AllBars copy;
  ASSERT_TRUE(other.pci.add(copy, {0, 5, 0}));
  testing::check_round_trip(device, copy);
  EXPECT_EQ(load(other.mmio, 0xc0000000), 0x99u);
  EXPECT_TRUE(other.irqs.lines[17]);
  EXPECT_TRUE(copy.bus_master());
}

TEST_F(Pci, ContractUnderNonsense) {
  struct Space : IoTarget {
    explicit Space(testing::Segment& s) : segment(s) {}
    void io_read(u64 offset, std::span<u8> data) override {
      segment.pci.config_read(segment.at, static_cast<u16>(offset), data);
    }
    void io_write(u64 offset, std::span<const u8> data) override {
      segment.pci.config_write(segment.at, static_cast<u16>(offset), data);
    }
    testing::Segment& segment;
  } space(*this);
  AllBars pristine;
  for (u32 seed = 0; seed < 10; ++seed) {
    testing::poke_nonsense(space, 0, 256, 8, seed, 3);
    testing::poke_nonsense(space, 0xff0, 16, 8, seed, 3);
    for (unsigned i = 0; i < 6; ++i) {
      const auto bar = device.bar(i);
      if (bar.mapped) {
        for (u64 offset = 0; offset < bar.size; offset += 0x41) {
          store(bar.kind == BarKind::io ? ports : mmio, *bar.mapped + offset, seed * offset, 1 + offset % 8);
        }
      }
    }
    device.notify_msix(seed * 7);
    device.notify_msi(seed * 5);
    AllBars fresh;
    testing::check_round_trip(device, fresh);
    if (seed % 3 == 0) testing::check_reset(device, pristine);
  }
  testing::check_bad_states(device, [] { return std::make_unique<AllBars>(); });
}

}  // namespace
}  // namespace nagaya::bus
