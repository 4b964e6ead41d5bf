// A PS/2 keyboard (IBM enhanced, 101/102 keys) as its controller sees it: bytes in, bytes out. Not locked: the controller
// does. Source: IBM PS/2 Technical Reference (1988), "Keyboard (101/102-key)".
#pragma once
#include "chipset/byte_queue.hpp"

namespace nagaya::chipset {

class Ps2Keyboard {
 public:
  static constexpr u16 pause = 0xe11d, print_screen = 0xe037;

  void reset();
  /// A command or parameter byte from the host; answers appear in the queue, before key codes not yet fetched.
  void receive(u8 value);
  /// See I8042::key.
  bool key(u16 code, bool down);
  [[nodiscard]] bool has_data() const { return !replies_.empty() || !keys_.empty(); }
  u8 take();
  /// Scroll lock 1, num lock 2, caps lock 4.
  [[nodiscard]] u8 leds() const { return leds_; }

  void save(state::Writer& out) const;
  void restore(state::Reader& in);

 private:
  void reply(u8 value);
  void defaults();

  ByteQueue<16> replies_;
  ByteQueue<128> keys_;
  u8 expects_ = 0;  // command whose parameter comes next
  u8 last_ = 0;     // for "resend"
  u8 set_ = 2, leds_ = 0, rate_ = 0x2b;
  bool enabled_ = true;
};

/// Scan code of set 2 for a byte of set 1 (1..7Fh), 0 if there is none; the controller's translation the other way for all bytes.
[[nodiscard]] u8 set1_to_set2(u8 code);
[[nodiscard]] u8 set2_to_set1(u8 code);

}  // namespace nagaya::chipset
