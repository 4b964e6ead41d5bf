// 82093AA I/O APIC with 24 pins and the EOI register of version 20h. Source: Intel 82093AA data sheet (290566-001); EOI
// register: Intel 82801 (ICH) data sheets, "I/O APIC, EOI register".
#pragma once
#include <array>
#include <mutex>

#include "bus/bus.hpp"
#include "bus/device.hpp"
#include "chipset/apic_bus.hpp"
#include "x86/irqchip_state.hpp"

namespace nagaya::chipset {

/// Thread-safe. Delivers into local APICs with its own lock held: they must not call back with theirs held.
class Ioapic final : public bus::Device, public bus::IoTarget {
 public:
  static constexpr u64 default_base = 0xfec00000, size = 0x1000;
  static constexpr unsigned pins = 24;

  explicit Ioapic(ApicBus& bus, u8 id = 0);

  /// Claims its page of guest-physical addresses.
  Result<> attach(bus::AddressMap& mmio, u64 base = default_base);
  void set_pin(unsigned pin, bool level);
  /// EOI of a vector, broadcast by a local APIC or written to the EOI register.
  void end_of_interrupt(u8 vector);

  [[nodiscard]] x86::IoapicState state() const;
  /// Takes a state as saved (any bytes are harmless). Lines that wait are served at resume().
  void set_state(const x86::IoapicState& state);

  void io_read(u64 offset, std::span<u8> data) override;
  void io_write(u64 offset, std::span<const u8> data) override;
  [[nodiscard]] std::string_view name() const override { return "ioapic"; }
  [[nodiscard]] u32 state_version() const override { return 1; }
  void reset() override;
  void pause() override {}
  void resume() override;
  void save(state::Writer& out) const override;
  [[nodiscard]] Result<> restore(state::Reader& in) override;

 private:
  [[nodiscard]] u32 read_register() const;
  void write_register(u32 value);
  void write_entry(unsigned pin, u64 value);
  void service(unsigned pin);
  void end_locked(u8 vector);
  void reset_locked();

  ApicBus& bus_;
  const u8 reset_id_;
  mutable std::mutex mutex_;
  x86::IoapicState regs_;  // guarded by mutex_; irr: levels of the input pins
};

}  // namespace nagaya::chipset
