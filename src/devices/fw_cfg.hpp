// The firmware configuration interface: numbered and named items that a guest reads through ports 510h..51Bh or by DMA.
// Source: QEMU documentation, docs/specs/fw_cfg (interface revision with DMA); the kernel's
// Documentation/ABI/testing/sysfs-firmware-qemu_fw_cfg. All items are fixed at construction, read-only for the guest.
#pragma once
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "bus/bus.hpp"
#include "bus/device.hpp"
#include "bus/io_forward.hpp"
#include "memory/guest_memory.hpp"

namespace nagaya::devices {

/// Item numbers with a fixed meaning.
enum class FwCfgKey : u16 {
  signature = 0x00, id = 0x01, uuid = 0x02, ram_size = 0x03, nographic = 0x04, nb_cpus = 0x05, machine_id = 0x06,
  kernel_addr = 0x07, kernel_size = 0x08, kernel_cmdline = 0x09, initrd_addr = 0x0a, initrd_size = 0x0b, boot_device = 0x0c,
  numa = 0x0d, boot_menu = 0x0e, max_cpus = 0x0f, kernel_entry = 0x10, kernel_data = 0x11, initrd_data = 0x12,
  cmdline_addr = 0x13, cmdline_size = 0x14, cmdline_data = 0x15, setup_addr = 0x16, setup_size = 0x17, setup_data = 0x18,
  file_directory = 0x19, file_first = 0x20,
};

/// One range of the file "etc/e820". Types as ACPI 6.5 15.1: 1 RAM, 2 reserved …
struct FwCfgE820 {
  u64 address = 0, size = 0;
  u32 type = 1;
};

/// What can be read there; filled by the machine, then handed to the device.
class FwCfgItems {
 public:
  void set(FwCfgKey key, std::vector<u8> data);
  void set_u16(FwCfgKey key, u16 value);
  void set_u32(FwCfgKey key, u32 value);
  void set_u64(FwCfgKey key, u64 value);
  /// With the final zero byte.
  void set_string(FwCfgKey key, std::string_view text);
  /// A named file ("etc/…", at most 55 characters). Error for a bad or repeated name, or too many files.
  Result<> add_file(std::string name, std::vector<u8> data);
  /// The file "etc/e820".
  Result<> add_e820(std::span<const FwCfgE820> ranges);

 private:
  friend class FwCfg;
  std::map<u16, std::vector<u8>> numbered_;
  std::map<std::string, std::vector<u8>> files_;
};

class FwCfg final : public bus::Device, public bus::IoTarget {
 public:
  static constexpr u64 io_size = 12;

  FwCfg(memory::GuestMemory& memory, FwCfgItems items);

  /// Ports from 510h: selector (word at 0), data (byte at 1), DMA address (big-endian, 4 and 4 bytes at 4 and 8).
  void io_read(u64 offset, std::span<u8> data) override;
  void io_write(u64 offset, std::span<const u8> data) override;

  [[nodiscard]] std::string_view name() const override { return "fw_cfg"; }
  [[nodiscard]] u32 state_version() const override { return 1; }
  void reset() override;
  void pause() override {}
  void resume() override {}
  void save(state::Writer& out) const override;
  [[nodiscard]] Result<> restore(state::Reader& in) override;

 private:
  // With mutex_ held.
  void select(u16 key);
  u8 read_byte();
  void run_dma(u64 at);
  /// Copies `length` bytes of the item from the current offset; past its end zeros. False: bad guest address.
  bool copy_out(u64 gpa, u32 length);
  void build_directory(std::map<std::string, std::vector<u8>> files);

  memory::GuestMemory& memory_;
  std::map<u16, std::vector<u8>> items_;  // fixed after construction
  mutable std::mutex mutex_;              // guards all below
  u16 key_ = 0;
  const std::vector<u8>* item_ = nullptr;  // null: no such item
  u32 offset_ = 0;
  u32 dma_high_ = 0;
};

}  // namespace nagaya::devices
