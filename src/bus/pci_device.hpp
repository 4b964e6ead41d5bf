// Base of every PCI function: configuration space, BARs, interrupts by wire or message, and their saved state. A device
// adds its BARs and capabilities in its constructor and answers what remains.
#pragma once
#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "bus/bus.hpp"
#include "bus/device.hpp"
#include "bus/pci_config.hpp"
#include "bus/pci_msi.hpp"

namespace nagaya::bus {

class EventPaths;
class PciBus;

/// Bus, device, function.
struct Bdf {
  u8 bus = 0, device = 0, function = 0;
  constexpr auto operator<=>(const Bdf&) const = default;
};

enum class BarKind : u8 { none, io, memory32, memory64 };

class PciDevice : public Device {
 public:
  struct Identity {
    u16 vendor = 0, device = 0;
    u32 class_code = 0;  ///< class, subclass, programming interface (24 bits)
    u8 revision = 0;
    u16 subsystem_vendor = 0, subsystem = 0;
  };
  struct Bar {
    BarKind kind = BarKind::none;
    u64 size = 0;
    bool prefetchable = false;
    std::optional<u64> mapped;    ///< where it answers now
    std::optional<u64> assigned;  ///< where "firmware" puts it after reset
  };

  PciDevice(std::string name, const Identity& identity);
  ~PciDevice() override;
  PciDevice(const PciDevice&) = delete;
  PciDevice& operator=(const PciDevice&) = delete;

  [[nodiscard]] std::string_view name() const final { return name_; }
  /// Configuration, messages and wire to power-on, then reset_device().
  void reset() final;
  void save(state::Writer& out) const final;
  [[nodiscard]] Result<> restore(state::Reader& in) final;

  [[nodiscard]] const Bar& bar(unsigned index) const { return bars_[index]; }
  [[nodiscard]] const PciMsix& msix() const { return msix_; }
  /// 1..4 for INTA..INTD, 0: none.
  [[nodiscard]] u8 interrupt_pin() const { return config_.get8(pci::reg_interrupt_pin); }

 protected:
  // ---- For constructors. A wrong use (a BAR twice, no room) is an error that PciBus::add reports. ----
  /// `size`: a power of two, at least 16 (memory) or 4 (I/O, at most 256). A memory64 BAR takes `index` and the next.
  void add_bar(unsigned index, BarKind kind, u64 size, bool prefetchable = false);
  void add_msi(unsigned vectors);
  void add_msix(unsigned vectors, unsigned bar, u32 table_offset, u32 pba_offset);
  /// Offset of the new capability, 0 when there was no room. Fill it through config().
  u16 add_capability(u8 id, u16 length);
  u16 add_extended_capability(u16 id, u8 version, u16 length);
  void use_interrupt_pin(u8 pin) { config_.set8(pci::reg_interrupt_pin, pin); }
  /// Only in constructors and in the hooks that say so.
  [[nodiscard]] PciConfig& config() { return config_; }

  // ---- What the device answers. BAR accesses come on vCPU threads, several at once, in any size. ----
  virtual void bar_read(unsigned bar, u64 offset, std::span<u8> data) = 0;
  virtual void bar_write(unsigned bar, u64 offset, std::span<const u8> data) = 0;
  /// Before the guest reads configuration bytes: a chance to refresh config(). The bus is locked.
  virtual void config_reading(u16 /*offset*/, std::size_t /*length*/) {}
  /// After the guest wrote configuration bytes. The bus is locked; config() may be used.
  virtual void config_written(u16 /*offset*/, std::size_t /*length*/) {}
  /// A BAR appeared, moved, or went away (ioeventfds follow it). The bus is locked.
  virtual void bar_moved(unsigned /*bar*/, std::optional<u64> /*address*/) {}
  /// Enables, masks or messages changed (irqfd routes follow them).
  virtual void messages_changed() {}
  /// Called with the bus locked, as are the next two: config() may be used, the bus not.
  virtual void reset_device() = 0;
  virtual void save_device(state::Writer& out) const = 0;
  /// Reads the device's part; nonsense is told by in.reject(). After a refusal the device is reset.
  virtual void restore_device(state::Reader& in) = 0;

  // ---- For devices at work; any thread, also with the device's own lock held. ----
  [[nodiscard]] bool bus_master() const { return command_.load(std::memory_order_acquire) & pci::command_master; }
  void set_intx(bool level);
  [[nodiscard]] bool intx() const { return intx_level_.load(); }
  [[nodiscard]] bool msix_enabled() const { return msix_.enabled(); }
  [[nodiscard]] bool msi_enabled() const { return msi_.enabled(); }
  void notify_msix(unsigned vector);
  /// Null where there are none, or while it is not plugged in.
  [[nodiscard]] EventPaths* events() const;
  void notify_msi(unsigned vector);

 private:
  friend class PciBus;
  struct Window;

  // Called by PciBus with its lock held.
  void config_read(u16 offset, std::span<u8> data);
  void config_write(u16 offset, std::span<const u8> data);
  /// Where the BAR should answer, by its register and the command register.
  [[nodiscard]] std::optional<u64> wanted(unsigned bar) const;
  void program_bar(unsigned bar, u64 address);
  void set_command(u16 value);
  void take_config();
  void reset_locked();

  [[nodiscard]] IrqSink* sink() const;
  [[nodiscard]] std::unique_lock<std::mutex> lock_bus() const;
  void remap();
  void note_error(const Result<>& result);
  void dispatch_read(unsigned bar, u64 offset, std::span<u8> data);
  void dispatch_write(unsigned bar, u64 offset, std::span<const u8> data);

  const std::string name_;
  std::optional<Error> construction_error_;
  PciBus* bus_ = nullptr;  // fixed while plugged in
  Bdf at_;
  PciConfig config_;  // guarded by the bus's lock
  std::array<Bar, 6> bars_;
  std::array<std::unique_ptr<IoTarget>, 6> windows_;
  PciMsi msi_;
  PciMsix msix_;
  std::atomic<u16> command_ = 0;
  std::atomic<bool> intx_level_ = false;
  bool intx_driven_ = false;  // guarded by the bus's line lock
};

}  // namespace nagaya::bus
