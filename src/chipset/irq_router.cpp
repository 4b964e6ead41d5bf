#include "chipset/irq_router.hpp"

#include "x86/pc_layout.hpp"

namespace nagaya::chipset {
namespace {

/// All GSIs that drive PIC input `irq`.
constexpr u32 sources_of(unsigned irq) {
  u32 sources = u32{1} << irq;
  for (unsigned gsi = 16; gsi < x86::pc::gsi_count; ++gsi) {
    if (IrqRouter::pic_irq_of_pci(gsi) == irq) sources |= u32{1} << gsi;
  }
  return sources;
}

}  // namespace

IrqRouter::IrqRouter(Pic& pic, Ioapic& ioapic, ApicBus& apics) : pic_(pic), ioapic_(ioapic), apics_(apics) {
  pic_.on_intr([&apics](bool level) { apics.set_lint0(level); });
  apics_.on_eoi([&ioapic](u8 vector) { ioapic.end_of_interrupt(vector); });
}

// The lock is held over the delivery so that two changes of one line cannot overtake each other.
void IrqRouter::set_line(unsigned gsi, bool level) {
  if (gsi >= x86::pc::gsi_count) return;
  std::lock_guard lock(mutex_);
  const u32 bit = u32{1} << gsi;
  lines_ = level ? lines_ | bit : lines_ & ~bit;
  const unsigned irq = gsi < 16 ? gsi : pic_irq_of_pci(gsi);
  pic_.set_irq(irq, lines_ & sources_of(irq));
  ioapic_.set_pin(gsi, level);
}

void IrqRouter::send_msi(u64 address, u32 data) { apics_.deliver_msi(address, data); }

}  // namespace nagaya::chipset
