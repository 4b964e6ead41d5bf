// The PCI segment: functions by bus, device and function, configuration accesses, the mapping of BARs, and the wires
// INTA to INTD. Source: PCI Local Bus Specification 3.0, 3.2.2.3 (mechanism #1) and 6.2; PCI Express 3.0, 7.2.2 (ECAM).
#pragma once
#include <array>
#include <map>
#include <mutex>

#include "bus/bus.hpp"
#include "bus/event_paths.hpp"
#include "bus/irq.hpp"
#include "bus/pci_device.hpp"
#include "bus/resources.hpp"

namespace nagaya::bus {

/// What the segment is wired to. Pin p (0..3) of device d drives GSI gsi_first + (d + p) % gsi_count, level-triggered;
/// `interrupt_line` gives the value for the interrupt-line register of each of these GSIs (the PIC's input).
struct PciWiring {
  AddressMap& ports;
  AddressMap& mmio;
  IrqSink& irqs;
  unsigned gsi_first = 16, gsi_count = 4;
  EventPaths* events = nullptr;  ///< null: the engine has none
  std::array<u8, 8> interrupt_line{10, 11, 10, 11, 10, 11, 10, 11};
};

/// Thread-safe. Lock order: bus lock, then a device's own, then the lines' lock.
class PciBus {
 public:
  explicit PciBus(const PciWiring& wiring);
  ~PciBus();

  /// Plugs a function in; it must outlive the bus or be removed first. Error: place taken, function 0 missing, or the
  /// device was built wrong.
  Result<> add(PciDevice& device, Bdf at);
  /// vCPUs must be stopped, or the device must outlive accesses under way.
  void remove(Bdf at);

  void config_read(Bdf at, u16 offset, std::span<u8> data);
  void config_write(Bdf at, u16 offset, std::span<const u8> data);

  /// Chooses an address for every BAR that has none, large ones first.
  Result<> assign(Resources& resources);
  /// Does what firmware does after reset: writes assigned addresses and interrupt lines, enables decoding.
  void program();

  [[nodiscard]] unsigned gsi(Bdf at, u8 pin) const;
  [[nodiscard]] IrqSink& irqs() { return wiring_.irqs; }
  [[nodiscard]] EventPaths* events() const { return wiring_.events; }

 private:
  friend class PciDevice;
  [[nodiscard]] PciDevice* find(Bdf at);
  void remap();
  void update_intx(PciDevice& device);
  [[nodiscard]] AddressMap& map_of(const PciDevice::Bar& bar) {
    return bar.kind == BarKind::io ? wiring_.ports : wiring_.mmio;
  }

  const PciWiring wiring_;
  mutable std::mutex mutex_;
  std::map<Bdf, PciDevice*> devices_;  // guarded by mutex_
  std::mutex lines_mutex_;
  std::map<unsigned, unsigned> asserted_;  // functions that assert a GSI; guarded by lines_mutex_
};

}  // namespace nagaya::bus
