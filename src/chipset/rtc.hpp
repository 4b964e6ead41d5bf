// MC146818 real-time clock with 128 bytes of battery-backed CMOS, ports 70h and 71h. Source: Motorola MC146818A data
// sheet (1984); Intel 82371 (PIIX) data sheet for the second bank and the NMI mask in bit 7 of port 70h. The time the
// guest sets is kept as a distance from the host's wall clock; the periodic interrupt runs on the machine's own clock.
#pragma once
#include <array>
#include <memory>
#include <mutex>

#include "bus/bus.hpp"
#include "bus/device.hpp"
#include "bus/io_forward.hpp"
#include "bus/irq.hpp"
#include "bus/timer.hpp"

namespace nagaya::chipset {

/// What firmware and old systems learn from CMOS.
struct RtcConfig {
  u64 ram_below_4g = 0;  ///< bytes
  u64 ram_above_4g = 0;  ///< bytes
  unsigned cpus = 1;
};

class Rtc final : public bus::Device {
 public:
  static constexpr u64 io_size = 2;

  Rtc(bus::Clock& clock, bus::IrqLine irq8, const RtcConfig& config);
  ~Rtc() override;

  [[nodiscard]] bus::IoTarget& ports() { return ports_; }
  /// Bit 7 of port 70h: NMIs are masked.
  [[nodiscard]] bool nmi_masked() const;
  /// CMOS bytes 0Eh..7Fh for the machine ("shutdown status", boot order).
  [[nodiscard]] u8 cmos(u8 index) const;
  void set_cmos(u8 index, u8 value);

  // bus::Device. Being battery-backed, time and CMOS survive reset().
  [[nodiscard]] std::string_view name() const override { return "rtc"; }
  [[nodiscard]] u32 state_version() const override { return 1; }
  void reset() override;
  void pause() override;
  void resume() override;
  void save(state::Writer& out) const override;
  [[nodiscard]] Result<> restore(state::Reader& in) override;

 private:
  /// Seconds, and nanoseconds 0..999999999: a guest may live in the year 9999, which 64 bits of nanoseconds do not reach.
  struct Time {
    i64 second = 0, ns = 0;
  };

  u8 read(u64 reg);
  void write(u64 reg, u8 value);
  void on_timer();
  // With mutex_ held.
  u8 read_cmos(u8 index);
  void write_cmos(u8 index, u8 value);
  void write_a(u8 value);
  void write_b(u8 value);
  [[nodiscard]] bool running() const;
  /// Guest time now, since 1970 as the guest's registers read.
  [[nodiscard]] Time guest_time() const;
  void freeze();
  void thaw(i64 ns);
  void time_to_registers(i64 seconds);
  [[nodiscard]] i64 registers_to_time() const;
  [[nodiscard]] u8 encode(int value) const;
  [[nodiscard]] int decode(u8 value) const;
  [[nodiscard]] i64 next_alarm(i64 after) const;
  [[nodiscard]] i64 period_ticks() const;
  [[nodiscard]] i64 rtc_ticks() const;
  /// Collects flags up to now, drives the line, arms the timer for the next enabled event.
  void service();
  void restart_events();

  bus::Clock& clock_;
  const bus::IrqLine irq_;
  bus::ByteForward<Rtc, &Rtc::read, &Rtc::write> ports_{*this};

  mutable std::mutex mutex_;       // guards all below
  std::array<u8, 128> cmos_{};     // time registers are true here only while the clock stands
  u8 index_ = 0;                   // port 70h as written
  Time offset_;                    // guest time - wall clock
  i64 frozen_ns_ = 0;              // fraction of the second at which the clock was stopped
  int weekday_shift_ = 0;          // weekday the guest set - weekday of its date, mod 7
  i64 seen_second_ = 0;            // update and alarm flags are complete up to this guest second
  i64 seen_period_ = 0;            // periodic flag is complete up to this multiple of the period
  bool paused_ = false;
  std::unique_ptr<bus::Timer> timer_;
};

}  // namespace nagaya::chipset
