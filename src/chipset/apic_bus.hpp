// What carries interrupt messages between I/O APIC, MSIs and local APICs. Source: Intel SDM vol. 3, 11.6 and 11.11.
#pragma once
#include <atomic>
#include <functional>
#include <vector>

#include "base/types.hpp"

namespace nagaya::chipset {

class Lapic;

/// Delivery modes as encoded in redirection entries, MSI data, LVTs and the ICR.
enum class DeliveryMode : u8 {
  fixed = 0,
  lowest = 1,
  smi = 2,
  reserved = 3,
  nmi = 4,
  init = 5,
  startup = 6,
  extint = 7
};

struct ApicMessage {
  u32 destination = 0;
  bool logical = false;
  bool broadcast = false;  ///< to all, whatever `destination` says (8-bit FFh, 32-bit FFFFFFFFh)
  DeliveryMode mode = DeliveryMode::fixed;
  u8 vector = 0;
  bool level = false;  ///< trigger mode
};

/// Locks nothing itself; the set of local APICs is fixed before the machine runs.
class ApicBus {
 public:
  void add(Lapic& lapic) { lapics_.push_back(&lapic); }
  /// Who hears an EOI of a level-triggered vector (the I/O APIC).
  void on_eoi(std::function<void(u8 vector)> listener) { on_eoi_ = std::move(listener); }
  /// To every local APIC it addresses (lowest priority: to one). False when none accepts. `except` is left out.
  bool deliver(const ApicMessage& message, const Lapic* except = nullptr);
  /// A message-signalled interrupt; an address outside FEExxxxxh goes nowhere. Bits 11:5 of the address extend the
  /// destination to 15 bits (KVM_FEATURE_MSI_EXT_DEST_ID).
  void deliver_msi(u64 address, u32 data);
  void broadcast_eoi(u8 vector) const {
    if (on_eoi_) on_eoi_(vector);
  }
  /// The output of the PICs, wired to LINT0 of all local APICs.
  void set_lint0(bool level);
  [[nodiscard]] const std::vector<Lapic*>& lapics() const { return lapics_; }

 private:
  std::vector<Lapic*> lapics_;
  std::function<void(u8)> on_eoi_;
  std::atomic<u32> turn_ = 0;  // breaks ties of lowest-priority delivery evenly
};

}  // namespace nagaya::chipset
