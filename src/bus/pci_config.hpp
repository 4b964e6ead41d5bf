// Configuration space of a PCI function: bytes, which bits a guest may write, and the lists of capabilities. Source:
// PCI Local Bus Specification 3.0, chapter 6; PCI Express Base Specification 3.0, 7.2 and 7.9.
#pragma once
#include <array>
#include <span>

#include "base/result.hpp"
#include "base/types.hpp"
#include "state/archive.hpp"

namespace nagaya::bus {

namespace pci {
inline constexpr u16 reg_vendor = 0x00, reg_device = 0x02, reg_command = 0x04, reg_status = 0x06, reg_revision = 0x08,
                     reg_class = 0x09, reg_cache_line = 0x0c, reg_header_type = 0x0e, reg_bar0 = 0x10,
                     reg_subsystem_vendor = 0x2c, reg_subsystem = 0x2e, reg_capabilities = 0x34,
                     reg_interrupt_line = 0x3c, reg_interrupt_pin = 0x3d;
inline constexpr u16 command_io = 1 << 0, command_memory = 1 << 1, command_master = 1 << 2, command_intx_off = 1 << 10;
inline constexpr u16 status_interrupt = 1 << 3, status_capabilities = 1 << 4;
inline constexpr u8 cap_msi = 0x05, cap_vendor = 0x09, cap_express = 0x10, cap_msix = 0x11;
}  // namespace pci

/// Not locked: its owner orders accesses. Values are little-endian; `read` and `write` are the guest's view, the others
/// the device's.
class PciConfig {
 public:
  static constexpr std::size_t size = 4096, legacy_size = 256;

  [[nodiscard]] u8 get8(u16 at) const { return bytes_[at]; }
  [[nodiscard]] u16 get16(u16 at) const { return static_cast<u16>(get(at, 2)); }
  [[nodiscard]] u32 get32(u16 at) const { return static_cast<u32>(get(at, 4)); }
  void set8(u16 at, u8 value) { set(at, 1, value); }
  void set16(u16 at, u16 value) { set(at, 2, value); }
  void set32(u16 at, u32 value) { set(at, 4, value); }
  /// Bits a guest may change.
  void writable8(u16 at, u8 mask) { mark(write_, at, 1, mask); }
  void writable16(u16 at, u16 mask) { mark(write_, at, 2, mask); }
  void writable32(u16 at, u32 mask) { mark(write_, at, 4, mask); }
  /// Bits a guest clears by writing 1.
  void clearable16(u16 at, u16 mask) { mark(clear_, at, 2, mask); }

  /// Bytes past the end, and past byte 255 of a function without extended capabilities, read as ones.
  void read(u16 at, std::span<u8> data) const;
  void write(u16 at, std::span<const u8> data);

  /// Appends a capability of `length` bytes (its two-byte header included) and gives its offset. The rest is zero.
  [[nodiscard]] Result<u16> add_capability(u8 id, u16 length);
  [[nodiscard]] Result<u16> add_extended_capability(u16 id, u8 version, u16 length);

  /// Takes the present content as what reset() goes back to; only the first call does.
  void seal();
  void reset();
  /// Changes a byte for good, the state after reset included.
  void set_fixed8(u16 at, u8 value) { bytes_[at] = reset_[at] = value; }
  /// The content as far as guests change it; a restored one changes nothing else, and its ids must be equal.
  void save(state::Writer& out) const;
  void restore(state::Reader& in);

 private:
  using Bytes = std::array<u8, size>;
  [[nodiscard]] u64 get(u16 at, unsigned bytes) const;
  void set(u16 at, unsigned bytes, u64 value);
  static void mark(Bytes& mask, u16 at, unsigned bytes, u64 bits);
  [[nodiscard]] std::size_t visible() const { return extended_end_ ? size : legacy_size; }

  Bytes bytes_{}, write_{}, clear_{}, reset_{};
  bool sealed_ = false;
  u16 capabilities_end_ = 0x40, last_capability_ = 0;
  u16 extended_end_ = 0, last_extended_ = 0;
};

}  // namespace nagaya::bus
