// ACPI fixed hardware: PM1a event and control blocks, PM timer, one general-purpose event block, SMI command port, and
// the reset control register at CF9h. Source: ACPI 6.5, 4.8.3 and 4.8.4; Intel ICH9 data sheet 13.7 (CF9h). The SCI is
// level-triggered, active high.
#pragma once
#include <functional>
#include <memory>
#include <mutex>

#include "bus/bus.hpp"
#include "bus/device.hpp"
#include "bus/io_forward.hpp"
#include "bus/irq.hpp"
#include "bus/timer.hpp"

namespace nagaya::chipset {

struct PmConfig {
  /// The guest asked for S5. Called on a vCPU thread without locks.
  std::function<void()> power_off;
  /// The guest wrote a reset to CF9h. Called on a vCPU thread without locks.
  std::function<void()> reset;
  bool timer_32bit = true;  ///< PM timer width (FADT TMR_VAL_EXT), else 24 bits
};

class Pm final : public bus::Device {
 public:
  static constexpr u64 io_size = 0x40;  ///< from x86::pc::pm_base

  Pm(bus::Clock& clock, bus::IrqLine sci, PmConfig config);
  ~Pm() override;

  /// The block at x86::pc::pm_base.
  [[nodiscard]] bus::IoTarget& ports() { return ports_; }
  /// Ports B2h (SMI command: ACPI enable and disable) and B3h.
  [[nodiscard]] bus::IoTarget& smi_ports() { return smi_ports_; }
  /// Port CF9h, one byte.
  [[nodiscard]] bus::IoTarget& reset_port() { return reset_port_; }

  /// The user pressed the power button: a guest that listens shuts down in order. Any thread.
  void press_power_button();
  /// Sets status bit 0..15 of GPE0. Any thread.
  void raise_gpe(unsigned bit);
  /// True when the guest has enabled ACPI and its power button event.
  [[nodiscard]] bool power_button_heard() const;

  // bus::Device
  [[nodiscard]] std::string_view name() const override { return "pm"; }
  [[nodiscard]] u32 state_version() const override { return 1; }
  void reset() override;
  void pause() override;
  void resume() override;
  void save(state::Writer& out) const override;
  [[nodiscard]] Result<> restore(state::Reader& in) override;

 private:
  void read(u64 offset, std::span<u8> data);
  void write(u64 offset, std::span<const u8> data);
  u8 read_smi(u64 reg);
  void write_smi(u64 reg, u8 value);
  u8 read_reset(u64 reg);
  void write_reset(u64 reg, u8 value);
  void on_timer();
  // With mutex_ held.
  u8 read_byte(u64 offset, u32 timer) const;
  /// True when the write asks for S5.
  bool write_byte(u64 offset, u8 value);
  [[nodiscard]] u64 ticks() const;
  void service();

  bus::Clock& clock_;
  const bus::IrqLine sci_;
  const PmConfig config_;
  bus::IoForward<Pm, &Pm::read, &Pm::write> ports_{*this};
  bus::ByteForward<Pm, &Pm::read_smi, &Pm::write_smi> smi_ports_{*this};
  bus::ByteForward<Pm, &Pm::read_reset, &Pm::write_reset> reset_port_{*this};

  mutable std::mutex mutex_;  // guards all below
  u16 status_ = 0, enable_ = 0, control_ = 0;
  u16 gpe_status_ = 0, gpe_enable_ = 0;
  u8 smi_command_ = 0, smi_scratch_ = 0, reset_control_ = 0;
  u64 tick_offset_ = 0;   ///< ticks() = clock ticks + this (a restored machine goes on counting where it was)
  u64 seen_carry_ = 0;    ///< TMR_STS is complete up to this number of changes of the timer's top bit
  bool paused_ = false;
  std::unique_ptr<bus::Timer> timer_;
};

}  // namespace nagaya::chipset
