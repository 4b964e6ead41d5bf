#include "chipset/apic_bus.hpp"

#include "chipset/lapic.hpp"

namespace nagaya::chipset {

bool ApicBus::deliver(const ApicMessage& message, const Lapic* except) {
  bool accepted = false;
  if (message.mode != DeliveryMode::lowest) {
    for (Lapic* lapic : lapics_) {
      if (lapic != except && lapic->addressed_by(message)) {
        accepted |= lapic->accept(message.mode, message.vector, message.level);
      }
    }
    return accepted;
  }
  Lapic* best = nullptr;
  u8 best_priority = 0;
  const u32 first = turn_.fetch_add(1, std::memory_order_relaxed);
  for (std::size_t i = 0; i < lapics_.size(); ++i) {
    Lapic* lapic = lapics_[(first + i) % lapics_.size()];
    u8 priority = 0;
    if (lapic == except || !lapic->addressed_by(message) || !lapic->arbitration_priority(priority)) continue;
    if (best && priority >= best_priority) continue;
    best = lapic;
    best_priority = priority;
  }
  return best && best->accept(DeliveryMode::fixed, message.vector, message.level);
}

// SDM vol. 3, 11.11: address FEEh | destination(19:12) | redirection hint(3) | destination mode(2); data: trigger(15),
// level(14), delivery mode(10:8), vector(7:0).
void ApicBus::deliver_msi(u64 address, u32 data) {
  if (address >> 20 != 0xfee) return;
  const bool level = data >> 15 & 1, assert = data >> 14 & 1;
  if (level && !assert) return;
  ApicMessage message;
  message.destination = static_cast<u32>(address >> 12 & 0xff) | static_cast<u32>(address >> 5 & 0x7f) << 8;
  message.broadcast = message.destination == 0xff;
  message.logical = address >> 2 & 1;
  message.mode = static_cast<DeliveryMode>(data >> 8 & 7);
  message.vector = static_cast<u8>(data);
  message.level = level;
  // A hint with a logical destination asks for one processor of the set.
  if (address >> 3 & 1 && message.logical && message.mode == DeliveryMode::fixed) message.mode = DeliveryMode::lowest;
  deliver(message);
}

void ApicBus::set_lint0(bool level) {
  for (Lapic* lapic : lapics_) lapic->set_lint0(level);
}

}  // namespace nagaya::chipset
