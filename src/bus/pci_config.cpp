#include "bus/pci_config.hpp"

#include <fmt/format.h>

#include "bus/bytes.hpp"

namespace nagaya::bus {

u64 PciConfig::get(u16 at, unsigned bytes) const { return load_le(std::span(bytes_).subspan(at, bytes)); }

void PciConfig::set(u16 at, unsigned bytes, u64 value) { store_le(std::span(bytes_).subspan(at, bytes), value); }

void PciConfig::mark(Bytes& mask, u16 at, unsigned bytes, u64 bits) {
  store_le(std::span(mask).subspan(at, bytes), bits);
}

void PciConfig::read(u16 at, std::span<u8> data) const {
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = at + i < visible() ? bytes_[at + i] : u8{0xff};
}

void PciConfig::write(u16 at, std::span<const u8> data) {
  for (std::size_t i = 0; i < data.size() && at + i < visible(); ++i) {
    u8& byte = bytes_[at + i];
    const u8 mask = write_[at + i];
    byte = static_cast<u8>((byte & ~mask) | (data[i] & mask));
    byte &= static_cast<u8>(~(data[i] & clear_[at + i]));
  }
}

Result<u16> PciConfig::add_capability(u8 id, u16 length) {
  const u16 at = capabilities_end_;
  if (length < 2 || at + length > static_cast<int>(legacy_size)) {
    return fail(fmt::format("cannot add PCI capability {:#x}", id), fmt::format("no room for {} bytes", length));
  }
  set8(at, id);
  set8(at + 1, 0);
  if (last_capability_) {
    set8(last_capability_ + 1, static_cast<u8>(at));
  } else {
    set8(pci::reg_capabilities, static_cast<u8>(at));
    set16(pci::reg_status, get16(pci::reg_status) | pci::status_capabilities);
  }
  last_capability_ = at;
  capabilities_end_ = static_cast<u16>((at + length + 3) & ~3);  // capabilities begin at doublewords
  return at;
}

Result<u16> PciConfig::add_extended_capability(u16 id, u8 version, u16 length) {
  const u16 at = extended_end_ ? extended_end_ : u16{legacy_size};  // the first must be there
  if (length < 4 || at + length > static_cast<int>(size)) {
    return fail(fmt::format("cannot add PCI extended capability {:#x}", id),
                fmt::format("no room for {} bytes", length));
  }
  set32(at, id | u32{version} << 16);
  if (last_extended_) set32(last_extended_, (get32(last_extended_) & 0xfffff) | u32{at} << 20);
  last_extended_ = at;
  extended_end_ = static_cast<u16>((at + length + 3) & ~3);
  return at;
}

void PciConfig::seal() {
  if (sealed_) return;
  sealed_ = true;
  reset_ = bytes_;
}

void PciConfig::reset() {
  seal();
  bytes_ = reset_;
}

void PciConfig::save(state::Writer& out) const {
  out.put(static_cast<u16>(visible()));
  for (std::size_t i = 0; i < visible(); ++i) {
    const u8 mask = write_[i] | clear_[i];  // what only the device changes, it makes again from its own state
    out.put(static_cast<u8>((bytes_[i] & mask) | ((sealed_ ? reset_ : bytes_)[i] & ~mask)));
  }
}

void PciConfig::restore(state::Reader& in) {
  reset();
  if (in.get<u16>() != visible()) {
    in.reject("the PCI configuration space has another size");
    return;
  }
  Bytes saved{};
  in.get_bytes(std::span(saved).first(visible()));
  if (load_le(std::span(saved).first(4)) != get32(0)) {
    in.reject(fmt::format("the PCI ids are {:08x}, not {:08x}", load_le(std::span(saved).first(4)), get32(0)));
  }
  for (std::size_t i = 0; i < visible(); ++i) {
    const u8 mask = write_[i] | clear_[i];
    bytes_[i] = static_cast<u8>((bytes_[i] & ~mask) | (saved[i] & mask));
  }
}

}  // namespace nagaya::bus
