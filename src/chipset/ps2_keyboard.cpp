#include "chipset/ps2_keyboard.hpp"

namespace nagaya::chipset {
namespace {

constexpr u8 ack = 0xfa, again = 0xfe, self_test_passed = 0xaa;

/// Codes of set 2 (index) in set 1; from 80h on they are the same, but for 83h (F7) and 84h (SysRq).
constexpr std::array<u8, 128> to_set1{
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,  //
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,  //
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,  //
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,  //
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,  //
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,  //
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,  //
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54};

}  // namespace

u8 set2_to_set1(u8 code) {
  if (code < to_set1.size()) return to_set1[code];
  return code == 0x83 ? 0x41 : code == 0x84 ? 0x54 : code;
}

u8 set1_to_set2(u8 code) {
  if (code == 0 || code > 0x7f) return 0;
  for (u8 set2 = 0x84; set2 > 0; --set2) {  // from above: 83h and 84h are the real keys, not 02h and 7Fh
    if (set2_to_set1(set2) == code) return set2;
  }
  return 0;
}

void Ps2Keyboard::defaults() {
  set_ = 2;
  rate_ = 0x2b;
  keys_.clear();
}

void Ps2Keyboard::reset() {
  *this = Ps2Keyboard{};
}

void Ps2Keyboard::reply(u8 value) { (void)replies_.push(std::span(&value, 1)); }

void Ps2Keyboard::receive(u8 value) {
  const u8 command = expects_;
  expects_ = 0;
  if (command != 0 && value < 0xed) {  // a parameter; a command instead of one cancels the first
    switch (command) {
      case 0xed: leds_ = value & 7; break;
      case 0xf3: rate_ = value & 0x7f; break;
      case 0xf0:
        if (value == 0) {
          reply(ack);
          return reply(set_);
        }
        if (value > 2) return reply(again);  // set 3 is not in this keyboard
        set_ = value;
        keys_.clear();
        break;
      default: expects_ = command; break;  // FBh..FDh: a list of keys, until the next command
    }
    return reply(ack);
  }
  if (value != 0xfe) replies_.clear();  // what was not fetched is answered no more
  switch (value) {
    case 0xee: return reply(0xee);
    case 0xf2:
      for (u8 byte : {ack, u8{0xab}, u8{0x83}}) reply(byte);
      return;
    case 0xed:
    case 0xf0:
    case 0xf3:
    case 0xfb:
    case 0xfc:
    case 0xfd:
      expects_ = value;
      return reply(ack);
    case 0xf4:
      keys_.clear();
      enabled_ = true;
      return reply(ack);
    case 0xf5:
      defaults();
      enabled_ = false;
      return reply(ack);
    case 0xf6:
      defaults();
      return reply(ack);
    case 0xf7:
    case 0xf8:
    case 0xf9:
    case 0xfa: return reply(ack);  // typematic and release behaviour of all keys matters in set 3 only
    case 0xfe: return reply(last_);
    case 0xff:
      reset();
      reply(ack);
      return reply(self_test_passed);
    default: return reply(again);
  }
}

bool Ps2Keyboard::key(u16 code, bool down) {
  if (!enabled_) return false;
  std::array<u8, 8> bytes{};
  std::size_t n = 0;
  const auto put = [&](std::initializer_list<u8> list) {
    for (u8 byte : list) bytes[n++] = byte;
  };
  if (code == pause) {  // sends its release at once, and nothing when it goes up
    if (!down) return true;
    if (set_ == 1) put({0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5});
    else put({0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77});
  } else if (code == print_screen) {
    if (set_ == 1 && down) put({0xe0, 0x2a, 0xe0, 0x37});
    else if (set_ == 1) put({0xe0, 0xb7, 0xe0, 0xaa});
    else if (down) put({0xe0, 0x12, 0xe0, 0x7c});
    else put({0xe0, 0xf0, 0x7c, 0xe0, 0xf0, 0x12});
  } else {
    const u8 low = static_cast<u8>(code), high = static_cast<u8>(code >> 8);
    const u8 set2 = set1_to_set2(low);
    if (set2 == 0 || (high != 0 && high != 0xe0)) return true;  // no such key: nothing to send
    if (high) put({0xe0});
    if (set_ == 1) {
      put({static_cast<u8>(low | (down ? 0 : 0x80))});
    } else {
      if (!down) put({0xf0});
      put({set2});
    }
  }
  return keys_.push(std::span(bytes).first(n));
}

u8 Ps2Keyboard::take() {
  const u8 value = replies_.empty() ? keys_.pop() : replies_.pop();
  if (value != again) last_ = value;
  return value;
}

void Ps2Keyboard::save(state::Writer& out) const {
  replies_.save(out);
  keys_.save(out);
  for (u8 value : {expects_, last_, set_, leds_, rate_}) out.put(value);
  out.put(enabled_);
}

void Ps2Keyboard::restore(state::Reader& in) {
  replies_.restore(in);
  keys_.restore(in);
  for (u8* value : {&expects_, &last_, &set_, &leds_, &rate_}) in.get(*value);
  in.get(enabled_);
  if (set_ < 1 || set_ > 2) in.reject("the keyboard is in a scan code set that it has not");
}

}  // namespace nagaya::chipset
