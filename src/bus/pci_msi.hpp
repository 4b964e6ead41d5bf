// Message-signalled interrupts of a PCI function: what MSI and MSI-X remember. Source: PCI Local Bus Specification 3.0,
// 6.8. Thread-safe: devices notify on their own threads while guests rewrite masks and tables.
#pragma once
#include <mutex>
#include <vector>

#include "bus/irq.hpp"
#include "bus/pci_config.hpp"

namespace nagaya::bus {

/// MSI with up to 32 vectors, 64-bit address and per-vector masks.
class PciMsi {
 public:
  /// Adds the capability; `vectors` is a power of two up to 32.
  Result<> add_to(PciConfig& config, unsigned vectors);
  [[nodiscard]] bool present() const { return at_ != 0; }
  [[nodiscard]] bool enabled() const;
  [[nodiscard]] bool covers(u16 offset, std::size_t length) const;
  /// Takes over what a guest wrote; sends what was pending and is unmasked now.
  void sync(const PciConfig& config, IrqSink* sink);
  /// Shows the pending bits in the configuration space.
  void show(PciConfig& config) const;
  void notify(unsigned vector, IrqSink* sink);
  void save(state::Writer& out) const;
  void restore(state::Reader& in);
  void reset();

 private:
  void send(unsigned vector, IrqSink* sink) const;
  u16 at_ = 0;
  mutable std::mutex mutex_;
  bool enabled_ = false;
  unsigned granted_ = 1;
  u64 address_ = 0;
  u16 data_ = 0;
  u32 masked_ = 0, pending_ = 0;
};

/// MSI-X: a table of messages and the array of pending bits, both in a BAR.
class PciMsix {
 public:
  /// One table entry as the guest wrote it.
  struct Vector {
    u64 address = 0;
    u32 data = 0;
    bool masked = true;
    bool operator==(const Vector&) const = default;
  };

  /// Adds the capability: 1..2048 vectors, table and pending bits at 8-byte aligned offsets of BAR `bar`.
  Result<> add_to(PciConfig& config, unsigned vectors, unsigned bar, u32 table, u32 pba);
  [[nodiscard]] bool present() const { return at_ != 0; }
  [[nodiscard]] bool enabled() const;
  [[nodiscard]] unsigned vectors() const { return static_cast<unsigned>(entries_.size()); }
  [[nodiscard]] bool covers(u16 offset, std::size_t length) const;
  void sync(const PciConfig& config, IrqSink* sink);
  /// What irqfd routing needs: the message of a vector, `masked` also when the whole function is.
  [[nodiscard]] Vector vector(unsigned index) const;
  void notify(unsigned vector, IrqSink* sink);

  /// True when (bar, offset) is the table's or the pending bits' and the access was answered.
  bool bar_read(unsigned bar, u64 offset, std::span<u8> data) const;
  /// The same; `changed` when a table entry was written. Only aligned 4- and 8-byte writes count, as specified.
  bool bar_write(unsigned bar, u64 offset, std::span<const u8> data, IrqSink* sink, bool& changed);

  void save(state::Writer& out) const;
  void restore(state::Reader& in);
  void reset();

 private:
  void send_pending(IrqSink* sink);
  [[nodiscard]] u32 table_word(u64 index) const;
  [[nodiscard]] u64 table_size() const { return entries_.size() * 16; }
  [[nodiscard]] u64 pba_size() const { return pending_.size() * 8; }

  u16 at_ = 0;
  unsigned bar_ = 0;
  u32 table_ = 0, pba_ = 0;
  mutable std::mutex mutex_;
  bool enabled_ = false, function_masked_ = false;
  std::vector<Vector> entries_;
  std::vector<u64> pending_;
};

}  // namespace nagaya::bus
