#include "chipset/i8042.hpp"

#include <utility>

namespace nagaya::chipset {
namespace {

// Command byte (RAM byte 0) and status register bits.
constexpr u8 mode_keyboard_int = 1, mode_mouse_int = 2, mode_system = 4, mode_no_keyboard = 0x10, mode_no_mouse = 0x20,
             mode_translate = 0x40;
constexpr u8 status_full = 1, status_system = 4, status_command = 8, status_unlocked = 0x10, status_mouse = 0x20;
// Output port: bit 0 is the (inverted) reset line, bit 1 A20, bits 4 and 5 the interrupt requests.
constexpr u8 port_no_reset = 1, port_a20 = 2, port_keyboard = 0x10, port_mouse = 0x20, port_idle = 0xcc;
constexpr u8 p92_reset = 1, p92_a20 = 2;

}  // namespace

I8042::I8042(bus::IrqLine irq1, bus::IrqLine irq12, I8042Config config)
    : irq1_(irq1), irq12_(irq12), config_(std::move(config)) {
  reset_locked();
}

u8 I8042::status() const {
  u8 value = status_unlocked;
  if (full_ != Source::none) value |= status_full;
  if (full_ == Source::mouse) value |= status_mouse;
  if (ram_[0] & mode_system) value |= status_system;
  if (last_was_command_) value |= status_command;
  return value;
}

u8 I8042::read_status(u64 reg) {
  if (reg != 0) return 0xff;
  std::lock_guard lock(mutex_);
  return status();
}

u8 I8042::read_data(u64 reg) {
  if (reg != 0) return 0xff;
  std::lock_guard lock(mutex_);
  const u8 value = output_;
  full_ = Source::none;
  update_irqs();  // the request falls before the next byte raises it again
  pump();
  return value;
}

void I8042::write_command(u64 reg, u8 value) {
  if (reg != 0) return;
  bool resets = false;
  {
    std::lock_guard lock(mutex_);
    last_was_command_ = true;
    resets = command(value);
    pump();
  }
  if (resets && config_.reset) config_.reset();
}

void I8042::write_data(u64 reg, u8 value) {
  if (reg != 0) return;
  bool resets = false;
  {
    std::lock_guard lock(mutex_);
    last_was_command_ = false;
    resets = data(value);
    pump();
  }
  if (resets && config_.reset) config_.reset();
}

bool I8042::command(u8 value) {
  expects_ = 0;
  if (value >= 0x20 && value <= 0x3f) {
    reply(ram_[value & 0x1f], Source::controller);
    return false;
  }
  if (value >= 0x60 && value <= 0x7f) {
    expects_ = value;
    return false;
  }
  if (value >= 0xf0) return !(value & 1);  // pulses output lines whose bit is 0; bit 0 is the reset line
  switch (value) {
    case 0xa4: reply(0xf1, Source::controller); break;  // no password
    case 0xa7: ram_[0] |= mode_no_mouse; break;
    case 0xa8: ram_[0] &= static_cast<u8>(~mode_no_mouse); break;
    case 0xa9: reply(config_.mouse ? 0 : 1, Source::controller); break;  // 1: clock line stuck low
    case 0xaa:
      ram_[0] |= mode_system;
      reply(0x55, Source::controller);
      break;
    case 0xab: reply(0, Source::controller); break;
    case 0xad: ram_[0] |= mode_no_keyboard; break;
    case 0xae: ram_[0] &= static_cast<u8>(~mode_no_keyboard); break;
    case 0xc0: reply(0x80, Source::controller); break;  // input port: keyboard not locked
    case 0xd0: {
      u8 port = port_idle | port_no_reset;
      if (a20_) port |= port_a20;
      if (full_ == Source::mouse) port |= port_mouse;
      else if (full_ != Source::none) port |= port_keyboard;
      reply(port, Source::controller);
      break;
    }
    case 0xd1:
    case 0xd2:
    case 0xd3:
    case 0xd4: expects_ = value; break;
    case 0xdd: a20_ = false; break;
    case 0xdf: a20_ = true; break;
    case 0xe0: reply(0, Source::controller); break;  // test inputs: both clocks low
    default: break;
  }
  return false;
}

bool I8042::data(u8 value) {
  const u8 command = std::exchange(expects_, u8{0});
  if (command >= 0x60 && command <= 0x7f) {
    ram_[command & 0x1f] = value;
    return false;
  }
  switch (command) {
    case 0xd1: a20_ = value & port_a20; return !(value & port_no_reset);
    case 0xd2: reply(value, Source::keyboard); break;
    case 0xd3: reply(value, config_.mouse ? Source::mouse : Source::controller); break;
    case 0xd4:
      if (config_.mouse) {
        ram_[0] &= static_cast<u8>(~mode_no_mouse);  // to talk to it, its clock must run
        mouse_.receive(value);
      }
      break;
    default:
      ram_[0] &= static_cast<u8>(~mode_no_keyboard);
      keyboard_.receive(value);
      break;
  }
  return false;
}

void I8042::reply(u8 value, Source source) {
  pending_ = value;
  pending_source_ = source;
}

/// Fills the output buffer when it is empty: the controller's own answer first, then keyboard, then mouse.
void I8042::pump() {
  while (full_ == Source::none) {
    if (pending_source_ != Source::none) {
      output_ = pending_;
      full_ = std::exchange(pending_source_, Source::none);
    } else if (keyboard_.has_data() && !(ram_[0] & mode_no_keyboard)) {
      u8 value = keyboard_.take();
      if (ram_[0] & mode_translate) {
        if (value == 0xf0) {  // set 2 marks a release before the code, set 1 in its top bit
          break_prefix_ = true;
          continue;
        }
        value = static_cast<u8>(set2_to_set1(value) | (break_prefix_ ? 0x80 : 0));
        break_prefix_ = false;
      }
      output_ = value;
      full_ = Source::keyboard;
    } else if (mouse_.has_data() && !(ram_[0] & mode_no_mouse)) {
      output_ = mouse_.take();
      full_ = Source::mouse;
    } else {
      break;
    }
  }
  update_irqs();
}

void I8042::update_irqs() {
  const bool from_mouse = full_ == Source::mouse;
  irq1_.set(full_ != Source::none && !from_mouse && (ram_[0] & mode_keyboard_int) && !(ram_[0] & mode_no_keyboard));
  irq12_.set(from_mouse && (ram_[0] & mode_mouse_int) && !(ram_[0] & mode_no_mouse));
}

u8 I8042::read92(u64 reg) {
  if (reg != 0) return 0xff;
  std::lock_guard lock(mutex_);
  return static_cast<u8>(port92_value_ | (a20_ ? p92_a20 : 0));
}

void I8042::write92(u64 reg, u8 value) {
  if (reg != 0) return;
  bool resets = false;
  {
    std::lock_guard lock(mutex_);
    resets = (value & p92_reset) && !(port92_value_ & p92_reset);
    a20_ = value & p92_a20;
    port92_value_ = value & static_cast<u8>(~p92_a20);
  }
  if (resets && config_.reset) config_.reset();
}

bool I8042::key(u16 code, bool down) {
  std::lock_guard lock(mutex_);
  const bool taken = keyboard_.key(code, down);
  pump();
  return taken;
}

void I8042::mouse(int dx, int dy, int wheel, u8 buttons) {
  if (!config_.mouse) return;
  std::lock_guard lock(mutex_);
  mouse_.move(dx, dy, wheel, buttons);
  pump();
}

void I8042::reset_locked() {
  ram_ = {};
  // As firmware leaves it: keyboard interrupt on, codes translated to set 1.
  ram_[0] = mode_keyboard_int | mode_system | mode_translate | (config_.mouse ? mode_mouse_int : mode_no_mouse);
  output_ = pending_ = expects_ = port92_value_ = 0;
  full_ = pending_source_ = Source::none;
  last_was_command_ = break_prefix_ = false;
  a20_ = true;
  keyboard_.reset();
  mouse_.reset();
  update_irqs();
}

void I8042::reset() {
  std::lock_guard lock(mutex_);
  reset_locked();
}

void I8042::save(state::Writer& out) const {
  std::lock_guard lock(mutex_);
  out.put_bytes(ram_);
  for (u8 value : {output_, pending_, expects_, port92_value_}) out.put(value);
  out.put(full_);
  out.put(pending_source_);
  for (bool value : {last_was_command_, a20_, break_prefix_}) out.put(value);
  keyboard_.save(out);
  mouse_.save(out);
}

Result<> I8042::restore(state::Reader& in) {
  std::lock_guard lock(mutex_);
  in.get_bytes(ram_);
  for (u8* value : {&output_, &pending_, &expects_, &port92_value_}) in.get(*value);
  in.get(full_);
  in.get(pending_source_);
  for (bool* value : {&last_was_command_, &a20_, &break_prefix_}) in.get(*value);
  if (full_ > Source::mouse || pending_source_ > Source::mouse) in.reject("the keyboard controller holds a byte of nobody");
  keyboard_.restore(in);
  mouse_.restore(in);
  auto done = in.finish();
  if (!done) reset_locked();
  update_irqs();
  return done;
}

}  // namespace nagaya::chipset
