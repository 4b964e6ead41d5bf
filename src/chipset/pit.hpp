// 8254 programmable interval timer and port 61h (gate and output of channel 2, speaker, refresh toggle). Source: Intel
// 8254 data sheet (231164-005, 1993). All arithmetic is in whole ticks of 1193182 Hz since the clock's origin, so that
// nothing drifts. Channel 0's output is interrupt 0; the gates of channels 0 and 1 are tied high.
#pragma once
#include <array>
#include <memory>
#include <mutex>
#include <optional>

#include "bus/bus.hpp"
#include "bus/device.hpp"
#include "bus/io_forward.hpp"
#include "bus/irq.hpp"
#include "bus/timer.hpp"
#include "chipset/pit_channel.hpp"
#include "x86/irqchip_state.hpp"

namespace nagaya::chipset {

class Pit final : public bus::Device {
 public:
  static constexpr u64 io_size = 4;

  Pit(bus::Clock& clock, bus::IrqLine irq0);
  ~Pit() override;

  /// Ports 40h..43h.
  [[nodiscard]] bus::IoTarget& ports() { return ports_; }
  /// Port 61h.
  [[nodiscard]] bus::IoTarget& port61() { return port61_; }

  // bus::Device
  [[nodiscard]] std::string_view name() const override { return "pit"; }
  [[nodiscard]] u32 state_version() const override { return 1; }
  void reset() override;
  void pause() override;
  void resume() override;
  void save(state::Writer& out) const override;
  [[nodiscard]] Result<> restore(state::Reader& in) override;

  /// The state as of now, and back: what an engine's own PIT exchanges with this one.
  [[nodiscard]] x86::PitState state() const;
  /// Error when a field is out of range; the device is then reset.
  [[nodiscard]] Result<> set_state(const x86::PitState& state);

 private:
  u8 read(u64 reg);
  void write(u64 reg, u8 value);
  u8 read61(u64);
  void write61(u64, u8 value);
  void on_timer();
  // With mutex_ held.
  void control(u8 value);
  /// Brings interrupt 0 up to date, and arms the timer for its next edge.
  void service();
  void apply(const x86::PitState& state);
  [[nodiscard]] i64 now_ticks() const;

  bus::Clock& clock_;
  const bus::IrqLine irq_;
  bus::ByteForward<Pit, &Pit::read, &Pit::write> ports_{*this};
  bus::ByteForward<Pit, &Pit::read61, &Pit::write61> port61_{*this};

  mutable std::mutex mutex_;  // guards all below
  std::array<PitChannel, 3> channel_;
  bool speaker_data_ = false;
  std::optional<i64> next_edge_;  ///< tick of the next rising edge of channel 0 to deliver
  u64 earliest_timer_ = 0;        ///< ns: the timer does not fire more often than a host can bear
  bool paused_ = false;
  std::unique_ptr<bus::Timer> timer_;
};

/// The section of a saved machine that holds a PIT, whoever models it.
void save_pit(state::Writer& out, const x86::PitState& state);
[[nodiscard]] Result<x86::PitState> restore_pit(state::Reader& in);

}  // namespace nagaya::chipset
