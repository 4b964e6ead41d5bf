#include "machine/board.hpp"

#include "x86/pc_layout.hpp"

namespace nagaya::machine {
namespace {

namespace pc = x86::pc;

u64 end_of_ram(const memory::GuestMemory& memory) {
  u64 end = 0;
  for (const memory::Region& region : memory.regions()) {
    if (region.is_ram()) end = std::max(end, region.gpa.value + region.size);
  }
  return end;
}

bus::Resources make_resources(const memory::GuestMemory& memory) {
  const u64 high = pc::pci_mmio64_base(end_of_ram(memory));
  u64 pci_lines = 0;
  for (unsigned i = 0; i < pc::pci_irq_count; ++i) pci_lines |= u64{1} << (pc::pci_irq_first + i);
  const u64 upper_lines = ((u64{1} << pc::gsi_count) - 1) & ~((u64{1} << 16) - 1);
  return {{"PCI I/O ports", pc::pci_io_base, pc::pci_io_last},
          {"32-bit PCI memory", pc::pci_mmio32_base, pc::pci_mmio32_last},
          {"64-bit PCI memory", high, high + pc::pci_mmio64_size - 1},
          bus::GsiAllocator(upper_lines & ~pci_lines)};
}

}  // namespace

Board::Board(memory::GuestMemory& memory, MachineClock& clock, BoardIo& io, bus::IrqSink& irqs, bus::EventPaths* events,
             BoardSignals signals, CharEnds ends)
    : memory(memory),
      clock(clock),
      irqs(irqs),
      signals(std::move(signals)),
      ends(ends),
      resources(make_resources(memory)),
      pci({.ports = io.ports, .mmio = io.mmio, .irqs = irqs, .gsi_first = pc::pci_irq_first, .gsi_count = pc::pci_irq_count, .events = events}) {}

}  // namespace nagaya::machine
