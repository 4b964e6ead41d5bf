#include "bus/pci_device.hpp"

#include <fmt/format.h>

#include <bit>

#include "bus/pci_bus.hpp"

namespace nagaya::bus {

using namespace pci;

/// The address range of one BAR.
struct PciDevice::Window final : IoTarget {
  Window(PciDevice& d, unsigned i) : device(d), index(i) {}
  void io_read(u64 offset, std::span<u8> data) override { device.dispatch_read(index, offset, data); }
  void io_write(u64 offset, std::span<const u8> data) override { device.dispatch_write(index, offset, data); }
  PciDevice& device;
  unsigned index;
};

PciDevice::PciDevice(std::string name, const Identity& identity) : name_(std::move(name)) {
  config_.set16(reg_vendor, identity.vendor);
  config_.set16(reg_device, identity.device);
  config_.set32(reg_revision, identity.revision | identity.class_code << 8);
  config_.set16(reg_subsystem_vendor, identity.subsystem_vendor);
  config_.set16(reg_subsystem, identity.subsystem);
  // I/O, memory, master, parity response, SERR, INTx disable.
  config_.writable16(reg_command, 0x0547);
  config_.writable8(reg_cache_line, 0xff);
  config_.writable8(reg_interrupt_line, 0xff);
  config_.clearable16(reg_status, 0xf900);
}

PciDevice::~PciDevice() {
  if (bus_) bus_->remove(at_);
}

void PciDevice::note_error(const Result<>& result) {
  if (!result && !construction_error_) construction_error_ = result.error();
}

void PciDevice::add_bar(unsigned index, BarKind kind, u64 size, bool prefetchable) {
  const bool wide = kind == BarKind::memory64, io = kind == BarKind::io;
  const bool taken = index > 5 || bars_[index].kind != BarKind::none ||
                     (wide && (index == 5 || bars_[index + 1].kind != BarKind::none)) ||
                     (index > 0 && bars_[index - 1].kind == BarKind::memory64);
  const bool good_size = std::has_single_bit(size) && size >= (io ? 4 : 16) &&
                         size <= (io     ? 256
                                  : wide ? u64{1} << 62
                                         : u64{1} << 31);
  if (taken || !good_size || kind == BarKind::none) {
    note_error(
        fail(fmt::format("cannot add BAR {}", index), fmt::format("taken, or size {:#x} is not possible", size)));
    return;
  }
  bars_[index] = {kind, size, prefetchable, {}, {}};
  windows_[index] = std::make_unique<Window>(*this, index);
  const u16 at = static_cast<u16>(reg_bar0 + 4 * index);
  config_.set32(at, (io ? 1u : 0u) | (wide ? 4u : 0u) | (prefetchable && !io ? 8u : 0u));
  // The bits below the size cannot be written: that is how a guest learns it.
  config_.writable32(at, static_cast<u32>(~(size - 1)) & (io ? ~3u : ~15u));
  if (wide) config_.writable32(at + 4, static_cast<u32>(~(size - 1) >> 32));
}

void PciDevice::add_msi(unsigned vectors) { note_error(msi_.add_to(config_, vectors)); }

void PciDevice::add_msix(unsigned vectors, unsigned bar, u32 table_offset, u32 pba_offset) {
  const u64 room = bar < 6 ? bars_[bar].size : 0;
  if (table_offset + u64{16} * vectors > room || pba_offset + u64{8} * ((vectors + 63) / 64) > room) {
    note_error(fail("cannot add MSI-X", fmt::format("BAR {} has {:#x} bytes", bar, room)));
    return;
  }
  note_error(msix_.add_to(config_, vectors, bar, table_offset, pba_offset));
}

u16 PciDevice::add_capability(u8 id, u16 length) {
  auto at = config_.add_capability(id, length);
  if (!at) note_error(std::unexpected(at.error()));
  return at.value_or(0);
}

u16 PciDevice::add_extended_capability(u16 id, u8 version, u16 length) {
  auto at = config_.add_extended_capability(id, version, length);
  if (!at) note_error(std::unexpected(at.error()));
  return at.value_or(0);
}

IrqSink* PciDevice::sink() const { return bus_ ? &bus_->irqs() : nullptr; }

EventPaths* PciDevice::events() const { return bus_ ? bus_->events() : nullptr; }

void PciDevice::notify_msix(unsigned vector) { msix_.notify(vector, sink()); }

void PciDevice::notify_msi(unsigned vector) { msi_.notify(vector, sink()); }

void PciDevice::set_intx(bool level) {
  intx_level_ = level;
  if (bus_) bus_->update_intx(*this);
}

void PciDevice::dispatch_read(unsigned bar, u64 offset, std::span<u8> data) {
  if (!msix_.bar_read(bar, offset, data)) bar_read(bar, offset, data);
}

void PciDevice::dispatch_write(unsigned bar, u64 offset, std::span<const u8> data) {
  bool changed = false;
  if (!msix_.bar_write(bar, offset, data, sink(), changed)) bar_write(bar, offset, data);
  if (changed) messages_changed();
}

void PciDevice::config_read(u16 offset, std::span<u8> data) {
  config_reading(offset, data.size());
  const u16 status = config_.get16(reg_status);
  config_.set16(reg_status, intx_level_ ? status | status_interrupt : status & ~status_interrupt);
  msi_.show(config_);
  config_.read(offset, data);
}

void PciDevice::config_write(u16 offset, std::span<const u8> data) {
  config_.write(offset, data);
  const std::size_t end = offset + data.size();
  const bool command = offset < reg_status && end > reg_command;
  if (command) {
    command_.store(config_.get16(reg_command), std::memory_order_release);
    if (bus_) bus_->update_intx(*this);
  }
  if (command || (offset < reg_bar0 + 24 && end > reg_bar0)) remap();
  const bool messages = msi_.covers(offset, data.size()) || msix_.covers(offset, data.size());
  if (messages) {
    msi_.sync(config_, sink());
    msix_.sync(config_, sink());
    messages_changed();
  }
  config_written(offset, data.size());
}

std::optional<u64> PciDevice::wanted(unsigned index) const {
  const Bar& bar = bars_[index];
  const u16 command = config_.get16(reg_command);
  const u16 at = static_cast<u16>(reg_bar0 + 4 * index);
  if (bar.kind == BarKind::none || !(command & (bar.kind == BarKind::io ? command_io : command_memory))) return {};
  u64 address = config_.get32(at) & (bar.kind == BarKind::io ? ~3u : ~15u);
  if (bar.kind == BarKind::memory64) address |= u64{config_.get32(at + 4)} << 32;
  if (address == 0) return {};  // not assigned yet
  if (bar.kind == BarKind::io && address + bar.size > 0x10000) return {};
  return address;
}

void PciDevice::program_bar(unsigned index, u64 address) {
  const u16 at = static_cast<u16>(reg_bar0 + 4 * index);
  const u32 type = config_.get32(at) & (bars_[index].kind == BarKind::io ? 3 : 15);
  config_.set32(at, type | static_cast<u32>(address));
  if (bars_[index].kind == BarKind::memory64) config_.set32(at + 4, static_cast<u32>(address >> 32));
}

void PciDevice::set_command(u16 value) {
  config_.set16(reg_command, value);
  command_.store(value, std::memory_order_release);
}

std::unique_lock<std::mutex> PciDevice::lock_bus() const {
  return bus_ ? std::unique_lock(bus_->mutex_) : std::unique_lock<std::mutex>();
}

void PciDevice::remap() {
  if (bus_) bus_->remap();
}

/// Everything that is derived from configuration bytes, after they changed as a whole.
void PciDevice::take_config() {
  command_.store(config_.get16(reg_command), std::memory_order_release);
  msi_.sync(config_, nullptr);
  msix_.sync(config_, nullptr);
  if (bus_) bus_->update_intx(*this);
  remap();
  messages_changed();
}

void PciDevice::reset_locked() {
  config_.reset();
  msi_.reset();
  msix_.reset();
  intx_level_ = false;
  reset_device();
  take_config();
}

void PciDevice::reset() {
  auto lock = lock_bus();
  reset_locked();
}

void PciDevice::save(state::Writer& out) const {
  auto lock = lock_bus();
  config_.save(out);
  msi_.save(out);
  msix_.save(out);
  out.put(intx_level_.load());
  save_device(out);
}

Result<> PciDevice::restore(state::Reader& in) {
  auto lock = lock_bus();
  config_.restore(in);
  msi_.restore(in);
  msix_.restore(in);
  const bool intx = in.get<bool>();
  restore_device(in);
  if (auto result = in.finish(); !result) {
    reset_locked();
    return result;
  }
  intx_level_ = intx;
  take_config();
  return {};
}

}  // namespace nagaya::bus
