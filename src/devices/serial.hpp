// 16550A serial port. Source: National Semiconductor PC16550D data sheet (1995), sections 8 and 9.
//
// Output leaves at once, whatever the baud rate; the rate only times the FIFO's character timeout. When the back end has
// no room, the transmitter stays full (THRE clear) until it has. INTR is wired straight to the interrupt line (OUT2 does
// not gate it), as in other virtual machines.
#pragma once
#include <array>
#include <memory>
#include <mutex>
#include <string>

#include "bus/bus.hpp"
#include "bus/device.hpp"
#include "bus/io_forward.hpp"
#include "bus/irq.hpp"
#include "bus/timer.hpp"
#include "devices/char_sink.hpp"

namespace nagaya::devices {

class Serial final : public bus::Device, public CharReceiver {
 public:
  static constexpr u64 io_size = 8;
  static constexpr std::size_t fifo_size = 16;

  /// `backend` may be null (nothing connected: output is dropped). All references outlive the device.
  Serial(std::string name, bus::Clock& clock, bus::IrqLine irq, CharBackend* backend);
  ~Serial() override;

  [[nodiscard]] bus::IoTarget& ports() { return ports_; }
  /// A break condition arrived on the line.
  void receive_break();

  // CharReceiver
  std::size_t input(std::span<const u8> data) override;
  void output_room() override;
  void connected(bool present) override;

  // bus::Device
  [[nodiscard]] std::string_view name() const override { return name_; }
  [[nodiscard]] u32 state_version() const override { return 1; }
  void reset() override;
  void pause() override;
  void resume() override;
  void save(state::Writer& out) const override;
  [[nodiscard]] Result<> restore(state::Reader& in) override;

 private:
  struct Received {
    u8 data = 0, errors = 0;  ///< errors: LSR bits OE..BI that belong to this character
  };
  /// What the chip holds; everything here is saved.
  struct Registers {
    u8 ier = 0, lcr = 0, mcr = 0, lsr = 0, msr = 0, scr = 0, fcr = 0;
    u16 divisor = 12;
    bool thre_pending = false;     ///< "transmitter empty" interrupt not yet seen
    bool timeout_pending = false;  ///< character timeout
    std::array<Received, fifo_size> rx{};
    std::array<u8, fifo_size> tx{};
    u8 rx_head = 0, rx_count = 0, tx_head = 0, tx_count = 0;
  };

  u8 read(u64 reg);
  void write(u64 reg, u8 value);
  // All below with mutex_ held.
  u8 read_rbr();
  u8 read_iir();
  u8 iir_locked() const;
  void write_thr(u8 value);
  void write_fcr(u8 value);
  void write_mcr(u8 value);
  void transmit();
  void transmitter_drained();
  void push_received(u8 data, u8 errors);
  void clear_rx();
  void set_modem_inputs(u8 inputs);
  void update_line_status();
  void update_irq();
  void restart_timeout();
  void on_timeout();
  void reset_locked();
  [[nodiscard]] bool fifos_on() const { return r_.fcr & 1; }
  [[nodiscard]] std::size_t rx_capacity() const { return fifos_on() ? fifo_size : 1; }
  [[nodiscard]] std::size_t tx_capacity() const { return fifos_on() ? fifo_size : 1; }
  [[nodiscard]] u8 rx_trigger() const;
  [[nodiscard]] bool loopback() const { return r_.mcr & 0x10; }
  [[nodiscard]] u64 character_ns() const;

  const std::string name_;
  bus::Clock& clock_;
  const bus::IrqLine irq_;
  CharBackend* const backend_;
  bus::ByteForward<Serial, &Serial::read, &Serial::write> ports_{*this};

  mutable std::mutex mutex_;  // guards everything below except timer_ itself
  Registers r_;
  u8 line_inputs_ = 0;         ///< MSR bits 7:4 as wired, whatever loopback shows
  u64 timeout_at_ = 0;         ///< virtual ns, 0 = no timeout runs
  bool paused_ = false;
  bool input_waits_ = false;   ///< the back end was refused input
  std::unique_ptr<bus::Timer> timer_;
};

}  // namespace nagaya::devices
