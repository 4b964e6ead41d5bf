// 8042 keyboard controller with a PS/2 keyboard and, when asked for, a mouse; ports 60h and 64h, and port 92h (fast A20
// and reset). Sources: IBM PS/2 Technical Reference (1988), "Keyboard and auxiliary device controller"; "8042 Keyboard
// Controller" tables as kept by A. Brouwer, "Keyboard scancodes" (2009). The A20 bit is kept and shown but masks nothing.
#pragma once
#include <array>
#include <functional>
#include <mutex>

#include "bus/bus.hpp"
#include "bus/device.hpp"
#include "bus/io_forward.hpp"
#include "bus/irq.hpp"
#include "chipset/ps2_keyboard.hpp"
#include "chipset/ps2_mouse.hpp"

namespace nagaya::chipset {

struct I8042Config {
  /// The guest pulsed the reset line. Called on a vCPU thread without locks.
  std::function<void()> reset;
  bool mouse = false;
};

class I8042 final : public bus::Device {
 public:
  I8042(bus::IrqLine irq1, bus::IrqLine irq12, I8042Config config);

  /// Port 60h, 1 byte.
  [[nodiscard]] bus::IoTarget& data_port() { return data_port_; }
  /// Port 64h, 1 byte.
  [[nodiscard]] bus::IoTarget& command_port() { return command_port_; }
  /// Port 92h, 1 byte.
  [[nodiscard]] bus::IoTarget& port92() { return port92_; }

  /// A key goes down or up. `code`: scan code of set 1 (01h..7Fh), E0xxh for extended keys, Ps2Keyboard::pause and
  /// Ps2Keyboard::print_screen for the two odd ones. False: the keyboard's buffer is full or it is switched off. Any thread.
  bool key(u16 code, bool down);
  /// Movement in counts (y grows upwards), wheel steps, buttons (1 left, 2 right, 4 middle). Any thread.
  void mouse(int dx, int dy, int wheel, u8 buttons);

  // bus::Device
  [[nodiscard]] std::string_view name() const override { return "i8042"; }
  [[nodiscard]] u32 state_version() const override { return 1; }
  void reset() override;
  void pause() override {}
  void resume() override {}
  void save(state::Writer& out) const override;
  [[nodiscard]] Result<> restore(state::Reader& in) override;

 private:
  enum class Source : u8 { none, controller, keyboard, mouse };

  u8 read_data(u64 reg);
  void write_data(u64 reg, u8 value);
  u8 read_status(u64 reg);
  void write_command(u64 reg, u8 value);
  u8 read92(u64 reg);
  void write92(u64 reg, u8 value);
  // With mutex_ held. The bool ones: the guest asks for a reset.
  bool command(u8 value);
  bool data(u8 value);
  void reply(u8 value, Source source);
  void pump();
  void update_irqs();
  void reset_locked();
  [[nodiscard]] u8 status() const;

  const bus::IrqLine irq1_, irq12_;
  const I8042Config config_;
  bus::ByteForward<I8042, &I8042::read_data, &I8042::write_data> data_port_{*this};
  bus::ByteForward<I8042, &I8042::read_status, &I8042::write_command> command_port_{*this};
  bus::ByteForward<I8042, &I8042::read92, &I8042::write92> port92_{*this};

  mutable std::mutex mutex_;  // guards all below
  std::array<u8, 32> ram_{};  // byte 0 is the command byte
  u8 output_ = 0;             // last byte put into (or read from) the output buffer
  Source full_ = Source::none;
  u8 pending_ = 0;            // answer of the controller that waits for the output buffer
  Source pending_source_ = Source::none;
  u8 expects_ = 0;            // command whose data byte comes next, 0 none
  bool last_was_command_ = false, a20_ = true;
  u8 port92_value_ = 0;        // without the A20 bit
  bool break_prefix_ = false;  // F0h of set 2 seen by the translator
  Ps2Keyboard keyboard_;
  Ps2Mouse mouse_;
};

}  // namespace nagaya::chipset
