#include "bus/pci_bus.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "bus/bytes.hpp"

namespace nagaya::bus {

PciBus::PciBus(const PciWiring& wiring) : wiring_(wiring) {}

PciBus::~PciBus() {
  while (!devices_.empty()) remove(devices_.begin()->first);
}

Result<> PciBus::add(PciDevice& device, Bdf at) {
  const auto what = fmt::format("cannot plug {} in at {:02x}:{:02x}.{}", device.name(), at.bus, at.device, at.function);
  if (at.device > 31 || at.function > 7) return fail(what, "there is no such place");
  if (device.bus_) return fail(what, "it is plugged in already");
  if (device.construction_error_) return fail(what, device.construction_error_->message());
  std::lock_guard lock(mutex_);
  if (devices_.contains(at)) return fail(what, fmt::format("{} is there", devices_[at]->name()));
  if (at.function != 0) {
    PciDevice* first = find({at.bus, at.device, 0});
    if (!first) return fail(what, "there is no function 0", "plug function 0 in first");
    first->config_.seal();
    first->config_.set_fixed8(pci::reg_header_type, 0x80);
  }
  device.config_.seal();
  device.bus_ = this;
  device.at_ = at;
  devices_[at] = &device;
  device.take_config();
  return {};
}

void PciBus::remove(Bdf at) {
  std::lock_guard lock(mutex_);
  PciDevice* device = find(at);
  if (!device) return;
  device->set_intx(false);
  for (unsigned i = 0; i < device->bars_.size(); ++i) {
    auto& bar = device->bars_[i];
    if (bar.mapped) map_of(bar).remove(*bar.mapped);
    bar.mapped.reset();
    bar.assigned.reset();
  }
  devices_.erase(at);
  device->bus_ = nullptr;
  remap();
}

PciDevice* PciBus::find(Bdf at) {
  const auto it = devices_.find(at);
  return it == devices_.end() ? nullptr : it->second;
}

void PciBus::config_read(Bdf at, u16 offset, std::span<u8> data) {
  std::lock_guard lock(mutex_);
  if (PciDevice* device = find(at)) {
    device->config_read(offset, data);
  } else {
    read_ones(data);
  }
}

void PciBus::config_write(Bdf at, u16 offset, std::span<const u8> data) {
  std::lock_guard lock(mutex_);
  if (PciDevice* device = find(at)) device->config_write(offset, data);
}

/// Makes every BAR answer where it wants to. One that collides with somebody else answers nowhere, until the other
/// moves away; RAM is not in these maps and is found before them, so a BAR over RAM is just hidden.
void PciBus::remap() {
  struct Move {
    PciDevice* device;
    unsigned bar;
    std::optional<u64> from;
  };
  std::vector<Move> moves;
  for (auto& [at, device] : devices_) {
    for (unsigned i = 0; i < device->bars_.size(); ++i) {
      auto& bar = device->bars_[i];
      const auto wanted = device->wanted(i);
      if (wanted == bar.mapped) continue;
      moves.push_back({device, i, bar.mapped});
      if (bar.mapped) map_of(bar).remove(*bar.mapped);
      bar.mapped.reset();
    }
  }
  for (const Move& move : moves) {
    auto& bar = move.device->bars_[move.bar];
    const auto wanted = move.device->wanted(move.bar);
    if (wanted && map_of(bar).add(*wanted, bar.size, *move.device->windows_[move.bar],
                                  fmt::format("{} BAR {}", move.device->name(), move.bar))) {
      bar.mapped = wanted;
    }
  }
  for (const Move& move : moves) {
    const auto& mapped = move.device->bars_[move.bar].mapped;
    if (mapped != move.from) move.device->bar_moved(move.bar, mapped);
  }
}

unsigned PciBus::gsi(Bdf at, u8 pin) const { return wiring_.gsi_first + (at.device + (pin - 1u)) % wiring_.gsi_count; }

/// Wired OR: a line is up while any function holds it.
void PciBus::update_intx(PciDevice& device) {
  const u8 pin = device.interrupt_pin();
  if (pin < 1 || pin > 4) return;
  std::lock_guard lock(lines_mutex_);
  const bool drives = device.intx_level_ && !(device.command_ & pci::command_intx_off);
  if (drives == device.intx_driven_) return;
  device.intx_driven_ = drives;
  const unsigned line = gsi(device.at_, pin);
  unsigned& count = asserted_[line];
  count += drives ? 1 : -1;
  if (count == (drives ? 1 : 0)) wiring_.irqs.set_line(line, drives);
}

Result<> PciBus::assign(Resources& resources) {
  struct Need {
    PciDevice* device;
    unsigned bar;
  };
  std::lock_guard lock(mutex_);
  // Ranges are aligned to their size: large ones first leave no holes.
  std::multimap<u64, Need, std::greater<>> needs;
  for (auto& [at, device] : devices_) {
    for (unsigned i = 0; i < device->bars_.size(); ++i) {
      const auto& bar = device->bars_[i];
      if (bar.kind != BarKind::none && !bar.assigned) needs.emplace(bar.size, Need{device, i});
    }
  }
  for (const auto& [size, need] : needs) {
    auto& bar = need.device->bars_[need.bar];
    auto from = [&](RangeAllocator& pool) { return pool.allocate(bar.size, std::max<u64>(bar.size, 4096)); };
    // 32-bit systems reach only what lies below 4 GiB, so that small 64-bit BARs go there too.
    constexpr u64 large = 64 * MiB;
    auto address = bar.kind == BarKind::io                             ? resources.ports.allocate(bar.size, bar.size)
                   : bar.kind == BarKind::memory64 && bar.size > large ? from(resources.mmio64)
                                                                       : from(resources.mmio32);
    if (!address && bar.kind == BarKind::memory64 && bar.size <= large) address = from(resources.mmio64);
    if (!address) {
      return std::unexpected(
          std::move(address).error().within(fmt::format("BAR {} of {}", need.bar, need.device->name())));
    }
    bar.assigned = *address;
  }
  return {};
}

void PciBus::program() {
  std::lock_guard lock(mutex_);
  for (auto& [at, device] : devices_) {
    u16 command = device->config_.get16(pci::reg_command);
    for (unsigned i = 0; i < device->bars_.size(); ++i) {
      const auto& bar = device->bars_[i];
      if (!bar.assigned) continue;
      device->program_bar(i, *bar.assigned);
      command |= bar.kind == BarKind::io ? pci::command_io : pci::command_memory;
    }
    device->set_command(command);
    if (const u8 pin = device->interrupt_pin()) {
      const unsigned line = (gsi(at, pin) - wiring_.gsi_first) % wiring_.interrupt_line.size();
      device->config_.set8(pci::reg_interrupt_line, wiring_.interrupt_line[line]);
    }
  }
  remap();
}

}  // namespace nagaya::bus
