// The wiring of interrupt lines: which inputs of the PICs and of the I/O APIC a global system interrupt reaches. What
// it says must agree with x86/pc_layout.hpp, from which MADT, MP table and the PCI routing are made.
#pragma once
#include <array>
#include <mutex>

#include "bus/irq.hpp"
#include "chipset/apic_bus.hpp"
#include "chipset/ioapic.hpp"
#include "chipset/pic.hpp"

namespace nagaya::chipset {

/// GSI n is I/O APIC pin n. 0..15 are the same PIC IRQ too (but 2, the cascade); 16..23, for systems that do not use
/// the I/O APIC, also the PIC's IRQ 10 (even) or 11 (odd), shared and level-triggered.
class IrqRouter final : public bus::IrqSink {
 public:
  /// Connects the PICs' output to LINT0 and the EOI broadcast to the I/O APIC.
  IrqRouter(Pic& pic, Ioapic& ioapic, ApicBus& apics);
  /// Value of ELCR that this wiring needs (for Pic's constructor).
  static constexpr u16 elcr = 1 << 10 | 1 << 11;
  /// The PIC input that GSI 16..23 shares.
  static constexpr unsigned pic_irq_of_pci(unsigned gsi) { return gsi % 2 == 0 ? 10 : 11; }

  void set_line(unsigned gsi, bool level) override;
  void send_msi(u64 address, u32 data) override;

 private:
  Pic& pic_;
  Ioapic& ioapic_;
  ApicBus& apics_;
  std::mutex mutex_;
  u32 lines_ = 0;  // levels, for the wired OR into the PICs; guarded by mutex_, which orders changes too
};

}  // namespace nagaya::chipset
