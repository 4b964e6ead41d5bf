#include "chipset/ioapic.hpp"

#include "bus/bytes.hpp"
#include "chipset/irqchip_archive.hpp"

namespace nagaya::chipset {
namespace {

// Registers in the page, and their indexes behind the window.
constexpr u64 reg_select = 0x00, reg_window = 0x10, reg_eoi = 0x40;
constexpr u32 index_id = 0, index_version = 1, index_arbitration = 2, index_table = 0x10;
constexpr u32 version = 0x20 | (Ioapic::pins - 1) << 16;

// Fields of a redirection entry.
constexpr u64 entry_remote_irr = u64{1} << 14, entry_level = u64{1} << 15, entry_masked = u64{1} << 16,
              entry_status = u64{1} << 12, entry_logical = u64{1} << 11;
constexpr u64 entry_readonly = entry_remote_irr | entry_status;
/// Vector .. mask, and the destination with its extension below (bits 55:48).
constexpr u64 entry_defined = 0xffff'0000'0001'ffff;

DeliveryMode mode_of(u64 entry) { return static_cast<DeliveryMode>(entry >> 8 & 7); }

}  // namespace

Ioapic::Ioapic(ApicBus& bus, u8 id) : bus_(bus), reset_id_(id) { reset_locked(); }

Result<> Ioapic::attach(bus::AddressMap& mmio, u64 base) { return mmio.add(base, size, *this, "ioapic"); }

// Polarity is not modelled: lines carry asserted or not, as the devices mean it, and tables say active high.
void Ioapic::set_pin(unsigned pin, bool level) {
  if (pin >= pins) return;
  std::lock_guard lock(mutex_);
  const u32 bit = u32{1} << pin;
  const bool rises = level && !(regs_.irr & bit);
  regs_.irr = level ? regs_.irr | bit : regs_.irr & ~bit;
  if (rises || (level && regs_.redirtbl[pin] & entry_level)) service(pin);
}

/// Sends the pin's message unless masked, or level-triggered and not yet ended. An edge at a masked pin is lost, as on
/// the chip.
void Ioapic::service(unsigned pin) {
  u64& entry = regs_.redirtbl[pin];
  if (entry & entry_masked || (entry & entry_level && entry & entry_remote_irr)) return;
  ApicMessage message;
  const u32 low = static_cast<u32>(entry >> 56);
  message.destination = low | static_cast<u32>(entry >> 49 & 0x7f) << 8;
  message.logical = entry & entry_logical;
  message.broadcast = message.destination == 0xff;
  message.mode = mode_of(entry);
  message.vector = static_cast<u8>(entry);
  message.level = entry & entry_level;
  const bool accepted = bus_.deliver(message);
  // Only what ends with an EOI waits for one.
  if (accepted && message.level && (message.mode == DeliveryMode::fixed || message.mode == DeliveryMode::lowest)) {
    entry |= entry_remote_irr;
  }
}

void Ioapic::end_locked(u8 vector) {
  for (unsigned pin = 0; pin < pins; ++pin) {
    u64& entry = regs_.redirtbl[pin];
    if (static_cast<u8>(entry) != vector || !(entry & entry_level) || !(entry & entry_remote_irr)) continue;
    entry &= ~entry_remote_irr;
    if (regs_.irr >> pin & 1) service(pin);
  }
}

void Ioapic::end_of_interrupt(u8 vector) {
  std::lock_guard lock(mutex_);
  end_locked(vector);
}

u32 Ioapic::read_register() const {
  switch (regs_.ioregsel) {
    case index_id:
    case index_arbitration:
      return regs_.id << 24;
    case index_version:
      return version;
    default:
      break;
  }
  const u32 index = regs_.ioregsel - index_table;
  if (regs_.ioregsel < index_table || index >= 2 * pins) return 0;
  return static_cast<u32>(regs_.redirtbl[index / 2] >> (32 * (index % 2)));
}

void Ioapic::write_register(u32 value) {
  if (regs_.ioregsel == index_id) regs_.id = value >> 24 & 0xf;
  const u32 index = regs_.ioregsel - index_table;
  if (regs_.ioregsel < index_table || index >= 2 * pins) return;
  const u64 old = regs_.redirtbl[index / 2];
  const u64 entry = index % 2 ? (old & 0xffff'ffff) | static_cast<u64>(value) << 32 : (old & ~u64{0xffff'ffff}) | value;
  write_entry(index / 2, entry);
}

void Ioapic::write_entry(unsigned pin, u64 value) {
  u64& entry = regs_.redirtbl[pin];
  entry = (value & entry_defined & ~entry_readonly) | (entry & entry_readonly);
  // Systems clear a stuck remote IRR by making the entry edge-triggered for a moment.
  if (!(entry & entry_level)) entry &= ~entry_remote_irr;
  if (entry & entry_level && regs_.irr >> pin & 1) service(pin);
}

void Ioapic::io_read(u64 offset, std::span<u8> data) {
  std::lock_guard lock(mutex_);
  u32 value = 0;
  switch (offset & 0xff0) {
    case reg_select:
      value = regs_.ioregsel;
      break;
    case reg_window:
      value = read_register();
      break;
    default:
      break;
  }
  const unsigned shift = (offset & 0xf) < 4 ? 8 * (offset & 3) : 32;
  bus::store_le(data, static_cast<u64>(value) >> shift);
}

// Registers are 32 bits wide. A byte write to the select register, which has eight bits that matter, is let through.
void Ioapic::io_write(u64 offset, std::span<const u8> data) {
  if (offset & 0xf) return;
  std::lock_guard lock(mutex_);
  const u32 value = static_cast<u32>(bus::load_le(data));
  switch (offset) {
    case reg_select:
      regs_.ioregsel = value & 0xff;
      break;
    case reg_window:
      if (data.size() >= 4) write_register(value);
      break;
    case reg_eoi:
      end_locked(static_cast<u8>(value));
      break;
    default:
      break;
  }
}

void Ioapic::reset_locked() {
  regs_ = {};
  regs_.id = reset_id_ & 0xf;
  regs_.redirtbl.fill(entry_masked);
}

void Ioapic::reset() {
  std::lock_guard lock(mutex_);
  reset_locked();
}

void Ioapic::resume() {
  std::lock_guard lock(mutex_);
  for (unsigned pin = 0; pin < pins; ++pin) {
    if (regs_.redirtbl[pin] & entry_level && regs_.irr >> pin & 1) service(pin);
  }
}

// A saved irr bit means "still to be served"; an edge was served when it came, so only level-triggered lines are kept
// (their devices drive the others again).
x86::IoapicState Ioapic::state() const {
  std::lock_guard lock(mutex_);
  x86::IoapicState state = regs_;
  for (unsigned pin = 0; pin < pins; ++pin) {
    if (!(regs_.redirtbl[pin] & entry_level)) state.irr &= ~(u32{1} << pin);
  }
  return state;
}

void Ioapic::set_state(const x86::IoapicState& state) {
  std::lock_guard lock(mutex_);
  regs_ = state;
  regs_.id &= 0xf;
  regs_.ioregsel &= 0xff;
  regs_.irr &= (u32{1} << pins) - 1;
  for (u64& entry : regs_.redirtbl) {
    entry &= entry_defined & ~entry_status;
    if (!(entry & entry_level)) entry &= ~entry_remote_irr;
  }
}

void Ioapic::save(state::Writer& out) const { put(out, state()); }

Result<> Ioapic::restore(state::Reader& in) {
  const auto state = get_ioapic(in);
  if (auto result = in.finish(); !result) {
    reset();
    return result;
  }
  set_state(state);
  return {};
}

}  // namespace nagaya::chipset
