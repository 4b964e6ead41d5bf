#include "bus/pci_msi.hpp"

#include <fmt/format.h>

#include <bit>

namespace nagaya::bus {
namespace {

// Offsets in the capability with a 64-bit address and per-vector masks (PCI 3.0, 6.8.1).
constexpr u16 control = 2, address_low = 4, address_high = 8, message_data = 12, mask_bits = 16, pending_bits = 20,
              length = 24;
constexpr u16 control_enable = 1 << 0, control_granted = 7 << 4, control_64 = 1 << 7, control_masks = 1 << 8;

}  // namespace

Result<> PciMsi::add_to(PciConfig& config, unsigned vectors) {
  if (present() || vectors == 0 || vectors > 32 || !std::has_single_bit(vectors)) {
    return fail("cannot add MSI", fmt::format("{} vectors are no power of two up to 32, or it exists", vectors));
  }
  TRY_ASSIGN(at_, config.add_capability(pci::cap_msi, length));
  const unsigned log = static_cast<unsigned>(std::countr_zero(vectors));
  config.set16(at_ + control, static_cast<u16>(control_64 | control_masks | log << 1));
  config.writable16(at_ + control, control_enable | control_granted);
  config.writable32(at_ + address_low, 0xffff'fffc);
  config.writable32(at_ + address_high, 0xffff'ffff);
  config.writable16(at_ + message_data, 0xffff);
  config.writable32(at_ + mask_bits, vectors == 32 ? ~u32{0} : (u32{1} << vectors) - 1);
  return {};
}

bool PciMsi::covers(u16 offset, std::size_t bytes) const {
  return present() && offset < at_ + length && offset + bytes > at_;
}

bool PciMsi::enabled() const {
  std::lock_guard lock(mutex_);
  return enabled_;
}

void PciMsi::sync(const PciConfig& config, IrqSink* sink) {
  if (!present()) return;
  std::lock_guard lock(mutex_);
  const u16 word = config.get16(at_ + control);
  enabled_ = word & control_enable;
  // A guest cannot be granted more than was asked for, whatever it writes.
  granted_ = 1u << std::min(word >> 4 & 7, word >> 1 & 7);
  address_ = config.get32(at_ + address_low) | u64{config.get32(at_ + address_high)} << 32;
  data_ = config.get16(at_ + message_data);
  masked_ = config.get32(at_ + mask_bits);
  const u32 ready = enabled_ && sink ? pending_ & ~masked_ : 0;
  pending_ &= ~ready;
  for (unsigned vector = 0; vector < 32; ++vector) {
    if (ready >> vector & 1) send(vector, sink);
  }
}

void PciMsi::show(PciConfig& config) const {
  if (!present()) return;
  std::lock_guard lock(mutex_);
  config.set32(at_ + pending_bits, pending_);
}

/// The low bits of the data tell the vector.
void PciMsi::send(unsigned vector, IrqSink* sink) const {
  sink->send_msi(address_, (data_ & ~(granted_ - 1)) | (vector & (granted_ - 1)));
}

void PciMsi::notify(unsigned vector, IrqSink* sink) {
  std::lock_guard lock(mutex_);
  if (!enabled_ || vector >= 32 || !sink) return;
  vector &= granted_ - 1;  // a guest that granted fewer shares them
  if (masked_ >> vector & 1) {
    pending_ |= u32{1} << vector;
  } else {
    send(vector, sink);
  }
}

void PciMsi::save(state::Writer& out) const {
  std::lock_guard lock(mutex_);
  out.put(pending_);
}

void PciMsi::restore(state::Reader& in) {
  std::lock_guard lock(mutex_);
  in.get(pending_);
  if (!present()) pending_ = 0;
}

void PciMsi::reset() {
  std::lock_guard lock(mutex_);
  enabled_ = false;
  granted_ = 1;
  address_ = 0;
  data_ = 0;
  masked_ = pending_ = 0;
}

}  // namespace nagaya::bus
