// The PCI host bridge: function 00:00.0, the configuration ports CF8h-CFFh and the enhanced configuration window.
// Source: PCI Local Bus Specification 3.0, 3.2.2.3.2; PCI Express Base Specification 3.0, 7.2.2.
#pragma once
#include "bus/io_window.hpp"
#include "bus/pci_bus.hpp"

namespace nagaya::chipset {

class HostBridge final : public bus::PciDevice {
 public:
  explicit HostBridge(bus::PciBus& pci);
  ~HostBridge() override;

  /// Plugs itself in at 00:00.0 and claims the ports and [ecam_base, ecam_base+ecam_size), 1 MiB for each bus.
  /// `reset_control` answers byte accesses to CF9h; may be null.
  Result<> attach(bus::AddressMap& ports, bus::AddressMap& mmio, u64 ecam_base, u64 ecam_size,
                  bus::IoTarget* reset_control);

  [[nodiscard]] u32 state_version() const override { return 1; }
  void pause() override {}
  void resume() override {}

 private:
  struct Ports;
  struct Ecam;
  void bar_read(unsigned bar, u64 offset, std::span<u8> data) override;
  void bar_write(unsigned, u64, std::span<const u8>) override {}
  void reset_device() override { address_ = 0; }
  void save_device(state::Writer& out) const override;
  void restore_device(state::Reader& in) override;

  bus::PciBus& pci_;
  std::unique_ptr<Ports> ports_;
  std::unique_ptr<Ecam> ecam_;
  std::atomic<u32> address_ = 0;  // CONFIG_ADDRESS
};

}  // namespace nagaya::chipset
