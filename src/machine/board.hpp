// What sits between the engine and the devices: the address maps, the clock, the interrupt sink, and the devices in the
// order in which the catalogue built them.
#pragma once
#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bus/bus.hpp"
#include "bus/device.hpp"
#include "bus/irq.hpp"
#include "bus/pci_bus.hpp"
#include "bus/resources.hpp"
#include "engine/engine.hpp"
#include "machine/clock.hpp"
#include "machine/net_links.hpp"
#include "memory/guest_memory.hpp"
#include "proto/vm_config.hpp"

namespace nagaya::chipset {
class Pm;
}
namespace nagaya::devices {
class CharBackend;
}
namespace nagaya::virtio {
class Balloon;
class Blk;
class Console;
class Net;
class Vsock;
}

namespace nagaya::machine {

/// What devices ask of the machine. Called on vCPU threads, the last on a disk's, without locks.
struct BoardSignals {
  std::function<void()> power_off;
  std::function<void()> reset;
  std::function<void(u32 status)> debug_exit;
  /// A request to disk `index` waits for space on the host: pause, and resume when there is some.
  std::function<void(std::size_t index)> disk_full;
};

/// Host ends of the character devices; null: nothing connected. They outlive the board.
struct CharEnds {
  std::array<devices::CharBackend*, 4> serial{};
  devices::CharBackend* debug_console = nullptr;
  std::vector<devices::CharBackend*> consoles{};  ///< one for each port of the configuration
  std::optional<unsigned> terminal_port{};        ///< the console port at our own terminal, whose size it follows
};

/// Routes the vCPUs' accesses through the maps.
class BoardIo final : public engine::IoHandler {
 public:
  bus::AddressMap ports, mmio;

  void port_read(u16 port, std::span<u8> data) override { ports.read(port, data); }
  void port_write(u16 port, std::span<const u8> data) override { ports.write(port, data); }
  void mmio_read(Gpa at, std::span<u8> data) override { mmio.read(at.value, data); }
  void mmio_write(Gpa at, std::span<const u8> data) override { mmio.write(at.value, data); }
};

/// A disk of the configuration as the machine can reach it.
struct BoardDisk {
  std::string name, path;
  virtio::Blk& device;
};

struct Board {
  /// `events`: null where the engine has no eventfds.
  Board(memory::GuestMemory& memory, MachineClock& clock, BoardIo& io, bus::IrqSink& irqs, bus::EventPaths* events,
        BoardSignals signals, CharEnds ends);

  memory::GuestMemory& memory;
  MachineClock& clock;
  bus::IrqSink& irqs;
  const BoardSignals signals;
  const CharEnds ends;
  bus::Resources resources;  ///< the machine's one allocator of addresses and interrupt lines
  bus::PciBus pci;
  std::vector<std::unique_ptr<bus::Device>> devices;
  u8 next_pci_slot = 1;       ///< of bus 0
  std::vector<BoardDisk> disks;
  chipset::Pm* pm = nullptr;  ///< the power button is there
  virtio::Console* console = nullptr;
  virtio::Balloon* balloon = nullptr;
  virtio::Vsock* vsock = nullptr;
  NetLinks links;                  ///< of the cards not yet built
  std::vector<virtio::Net*> nets;  ///< network cards, in the configuration's order

  [[nodiscard]] bus::IrqLine line(unsigned gsi) { return bus::IrqLine(irqs, gsi); }
  /// Takes a device in; returns it.
  template <class D>
  D& add(std::unique_ptr<D> device) {
    D& out = *device;
    devices.push_back(std::move(device));
    return out;
  }
};

/// Builds every device of the catalogue that `config` wants, in its order, and gives the PCI functions their addresses.
Result<> populate(Board& board, BoardIo& io, const proto::VmConfig& config);

}  // namespace nagaya::machine
