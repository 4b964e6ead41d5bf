// A pair of 8259A interrupt controllers with the ELCR of later chipsets. Source: Intel 8259A data sheet (231468-003);
// ELCR: Intel 82371AB (PIIX4) data sheet, 4.2.5.
#pragma once
#include <array>
#include <functional>
#include <mutex>

#include "bus/bus.hpp"
#include "bus/device.hpp"
#include "bus/io_window.hpp"
#include "x86/irqchip_state.hpp"

namespace nagaya::chipset {

/// Offsets as an IoTarget are port numbers. Thread-safe.
class Pic final : public bus::Device, public bus::IoTarget {
 public:
  /// `elcr`: which of IRQ 0..15 are level-triggered after reset, what a BIOS would have set for the PCI interrupts.
  explicit Pic(u16 elcr = 0);

  /// Claims ports 20h-21h, A0h-A1h and 4D0h-4D1h.
  Result<> attach(bus::AddressMap& ports);
  /// Called with the level of INTR at each change, with the PIC locked: it must not call back.
  void on_intr(std::function<void(bool)> listener);
  /// Level of IRQ 0..15; others, and the cascade (2), are ignored.
  void set_irq(unsigned irq, bool level);
  /// The INTA cycle: the vector of the interrupt now in service, spurious (IR7) when the request has gone.
  [[nodiscard]] u8 acknowledge();
  [[nodiscard]] bool intr() const;

  [[nodiscard]] std::array<x86::PicState, 2> state() const;
  /// Takes a state as saved (any bytes are harmless) and drives INTR accordingly.
  void set_state(const std::array<x86::PicState, 2>& state);

  void io_read(u64 port, std::span<u8> data) override;
  void io_write(u64 port, std::span<const u8> data) override;
  [[nodiscard]] std::string_view name() const override { return "pic"; }
  [[nodiscard]] u32 state_version() const override { return 1; }
  void reset() override;
  void pause() override {}
  void resume() override {}
  void save(state::Writer& out) const override;
  [[nodiscard]] Result<> restore(state::Reader& in) override;

 private:
  u8 read_port(u64 port);
  void write_port(u64 port, u8 value);
  void reset_locked();
  void update();

  mutable std::mutex mutex_;
  std::array<x86::PicState, 2> chip_;  // guarded by mutex_
  bool intr_ = false;                  // guarded by mutex_
  std::function<void(bool)> on_intr_;  // guarded by mutex_
  const u16 reset_elcr_;
  bus::IoWindow master_, slave_, elcr_;
};

}  // namespace nagaya::chipset
