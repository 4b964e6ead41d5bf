// For tests: a PCI segment with its maps, and a function that has every kind of BAR and interrupt.
#pragma once
#include <gtest/gtest.h>

#include <vector>

#include "bus/bytes.hpp"
#include "bus/manual_clock_test_util.hpp"
#include "bus/pci_bus.hpp"

namespace nagaya::bus::testing {

/// BAR 0: 4 KiB of memory, 1: 32 ports, 2/3: 1 MiB of 64-bit memory, 4: 4 KiB with MSI-X (40 vectors).
class AllBars final : public PciDevice {
 public:
  explicit AllBars(std::string name = "all")
      : PciDevice(std::move(name), {0x1234, 0x5678, 0x088000, 3, 0xaaaa, 0xbbbb}) {
    add_bar(0, BarKind::memory32, 4096);
    add_bar(1, BarKind::io, 32);
    add_bar(2, BarKind::memory64, MiB, true);
    add_bar(4, BarKind::memory32, 4096);
    add_msix(40, 4, 0x400, 0xc00);
    add_msi(8);
    vendor_at = add_capability(pci::cap_vendor, 5);
    config().writable8(vendor_at + 4, 0x0f);
    extended_at = add_extended_capability(0xb, 1, 12);
    second_extended_at = add_extended_capability(0xb, 2, 8);
    use_interrupt_pin(1);
  }
  ~AllBars() override = default;

  using PciDevice::bus_master;
  using PciDevice::msi_enabled;
  using PciDevice::msix_enabled;
  using PciDevice::notify_msi;
  using PciDevice::notify_msix;
  using PciDevice::set_intx;

  [[nodiscard]] u32 state_version() const override { return 1; }
  void pause() override {}
  void resume() override {}
  void bar_read(unsigned bar, u64 offset, std::span<u8> data) override { store_le(data, value + bar + (offset << 8)); }
  void bar_write(unsigned bar, u64 offset, std::span<const u8> data) override {
    (void)bar, (void)offset;
    value = load_le(data);
  }
  void config_written(u16 offset, std::size_t) override { written.push_back(offset); }
  void bar_moved(unsigned bar, std::optional<u64> address) override { moves.emplace_back(bar, address); }
  void messages_changed() override { ++message_changes; }
  void reset_device() override { value = 0; }
  void save_device(state::Writer& out) const override { out.put(value.load()); }
  void restore_device(state::Reader& in) override { value = in.get<u64>(); }

  std::atomic<u64> value = 0;
  u16 vendor_at = 0, extended_at = 0, second_extended_at = 0;
  std::vector<u16> written;
  std::vector<std::pair<unsigned, std::optional<u64>>> moves;
  unsigned message_changes = 0;
};

struct Segment {
  explicit Segment(EventPaths* events = nullptr) : pci({.ports = ports, .mmio = mmio, .irqs = irqs, .events = events}) {}
  AddressMap ports, mmio;
  RecordingSink irqs;
  PciBus pci;
  Bdf at{0, 3, 0};

  u32 read(u16 offset, unsigned size = 4) { return read_at(at, offset, size); }
  u32 read_at(Bdf where, u16 offset, unsigned size = 4) {
    std::array<u8, 4> data{};
    pci.config_read(where, offset, std::span(data).first(size));
    return static_cast<u32>(load_le(std::span(data).first(size)));
  }
  void write(u16 offset, u32 value, unsigned size = 4) {
    std::array<u8, 4> data{};
    store_le(data, value);
    pci.config_write(at, offset, std::span(data).first(size));
  }
  static u64 load(const AddressMap& map, u64 address, unsigned size = 4) {
    std::array<u8, 8> data{};
    map.read(address, std::span(data).first(size));
    return load_le(std::span(data).first(size));
  }
  static void store(const AddressMap& map, u64 address, u64 value, unsigned size = 4) {
    std::array<u8, 8> data{};
    store_le(data, value);
    map.write(address, std::span(data).first(size));
  }
  /// Offset of a capability of the function at `at`, 0 when it is not in the list.
  u16 capability(u8 id) {
    u16 offset = static_cast<u16>(read(pci::reg_capabilities, 1));
    for (int i = 0; offset && i < 64; ++i, offset = static_cast<u16>(read(offset + 1, 1))) {
      if (read(offset, 1) == id) return offset;
    }
    return 0;
  }
};

}  // namespace nagaya::bus::testing
