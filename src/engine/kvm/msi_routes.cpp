#include "engine/kvm/msi_routes.hpp"

#include <algorithm>
#include <span>

#include "engine/kvm/abi.hpp"
#include "engine/kvm/ioctl.hpp"
#include "x86/pc_layout.hpp"

namespace nagaya::engine::kvm {
namespace {

kvm_irq_routing_entry wire(u32 gsi, u32 chip, u32 pin) {
  kvm_irq_routing_entry entry{};
  entry.gsi = gsi;
  entry.type = KVM_IRQ_ROUTING_IRQCHIP;
  entry.u.irqchip.irqchip = chip;
  entry.u.irqchip.pin = pin;
  return entry;
}

}  // namespace

/// The table is written as a whole, so that it holds the wires that KVM begins with, too: every line to the IOAPIC, the
/// first 16 also to the PICs.
Result<> MsiRoutes::write_table() {
  std::vector<kvm_irq_routing_entry> entries;
  for (u32 gsi = 0; gsi < x86::pc::gsi_count; ++gsi) {
    entries.push_back(wire(gsi, KVM_IRQCHIP_IOAPIC, gsi));
    if (gsi < 16) entries.push_back(wire(gsi, gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, gsi % 8));
  }
  for (const auto& [eventfd, route] : routes_) {
    kvm_irq_routing_entry entry{};
    entry.gsi = route.gsi;
    entry.type = KVM_IRQ_ROUTING_MSI;
    entry.u.msi.address_lo = static_cast<u32>(route.address);
    entry.u.msi.address_hi = static_cast<u32>(route.address >> 32);
    entry.u.msi.data = route.data;
    entries.push_back(entry);
  }
  CountedArray<kvm_irq_routing_entry> table{std::span<const kvm_irq_routing_entry>(entries)};
  TRY(request(vm_, set_gsi_routing, table.data(), "KVM_SET_GSI_ROUTING"));
  return {};
}

Result<> MsiRoutes::irqfd(int eventfd, u32 gsi, u32 flags) {
  kvm_irqfd request{};
  request.fd = static_cast<u32>(eventfd);
  request.gsi = gsi;
  request.flags = flags;
  TRY_KVM(vm_, KVM_IRQFD, &request);
  return {};
}

Result<> MsiRoutes::set(int eventfd, u64 address, u32 data) {
  const std::lock_guard lock(mutex_);
  if (const auto known = routes_.find(eventfd); known != routes_.end()) {
    const Route before = known->second;
    known->second.address = address;
    known->second.data = data;
    auto written = write_table();
    if (!written) known->second = before;
    return written;
  }
  u32 gsi = x86::pc::gsi_count;
  while (std::ranges::any_of(routes_, [&](const auto& route) { return route.second.gsi == gsi; })) ++gsi;
  // 24 lines have 40 entries.
  if (routes_.size() + 41 > most_) return fail("no room for another interrupt message", "the host's table is full");
  routes_[eventfd] = {gsi, address, data};
  auto done = write_table();
  if (done) done = irqfd(eventfd, gsi, 0);
  if (!done) routes_.erase(eventfd);
  return done;
}

void MsiRoutes::remove(int eventfd) {
  const std::lock_guard lock(mutex_);
  const auto known = routes_.find(eventfd);
  if (known == routes_.end()) return;
  (void)irqfd(eventfd, known->second.gsi, KVM_IRQFD_FLAG_DEASSIGN);
  routes_.erase(known);  // its entry, which nothing uses, goes with the next change
}

}  // namespace nagaya::engine::kvm
