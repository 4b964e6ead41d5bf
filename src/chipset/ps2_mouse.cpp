#include "chipset/ps2_mouse.hpp"

#include <algorithm>

namespace nagaya::chipset {
namespace {

constexpr u8 ack = 0xfa, again = 0xfe, self_test_passed = 0xaa;
constexpr u8 plain = 0, wheeled = 3;  // identities
/// Movement gathered while nobody fetches it stays within this.
constexpr int most = 4096;

}  // namespace

void Ps2Mouse::defaults() {
  rate_ = 100;
  resolution_ = 2;
  scaling_ = reporting_ = remote_ = false;
  packets_.clear();
  dx_ = dy_ = wheel_ = 0;
}

void Ps2Mouse::reset() { *this = Ps2Mouse{}; }

void Ps2Mouse::reply(u8 value) { (void)replies_.push(std::span(&value, 1)); }

void Ps2Mouse::receive(u8 value) {
  if (wrap_ && value != 0xec && value != 0xff) return reply(value);
  const u8 awaited = expects_;
  expects_ = 0;
  if (awaited == 0xe8 && value <= 3) {
    resolution_ = value;
    return reply(ack);
  }
  if (awaited == 0xf3 && value <= 200) {
    rate_ = value;
    // 200, 100, 80 in a row: a driver that knows wheels is here.
    knock_ = value == 200 ? 1 : knock_ == 1 && value == 100 ? 2 : knock_ == 2 && value == 80 ? 3 : 0;
    if (knock_ == 3) identity_ = wheeled;
    return reply(ack);
  }
  if (value != 0xfe) {
    replies_.clear();
    packets_.clear();
  }
  command(value);
}

void Ps2Mouse::command(u8 value) {
  switch (value) {
    case 0xe6: scaling_ = false; break;
    case 0xe7: scaling_ = true; break;
    case 0xe8:
    case 0xf3: expects_ = value; break;
    case 0xe9: {  // status
      const u8 left_middle_right =
          static_cast<u8>((buttons_ & 1) << 2 | (buttons_ & 4) >> 1 | (buttons_ & 2) >> 1);
      reply(ack);
      reply(static_cast<u8>(remote_ << 6 | reporting_ << 5 | scaling_ << 4 | left_middle_right));
      reply(resolution_);
      return reply(rate_);
    }
    case 0xea: remote_ = false; break;
    case 0xeb:
      reply(ack);
      (void)make_packet(true, replies_);
      return;
    case 0xec: wrap_ = false; break;
    case 0xee: wrap_ = true; break;
    case 0xf0: remote_ = true; break;
    case 0xf2: reply(ack); return reply(identity_);
    case 0xf4: reporting_ = true; break;
    case 0xf5: reporting_ = false; break;
    case 0xf6: defaults(); break;
    case 0xfe: return reply(last_);
    case 0xff:
      reset();
      for (u8 byte : {ack, self_test_passed, plain}) reply(byte);
      return;
    default: return reply(again);
  }
  reply(ack);
}

bool Ps2Mouse::make_packet(bool always, ByteQueue<32>& to) {
  if (!always && dx_ == 0 && dy_ == 0 && wheel_ == 0 && buttons_ == told_buttons_) return false;
  const std::size_t size = identity_ == wheeled ? 4 : 3;
  if (to.room() < size) return false;
  const int x = std::clamp(dx_, -255, 255), y = std::clamp(dy_, -255, 255), z = std::clamp(wheel_, -8, 7);
  dx_ -= x;
  dy_ -= y;
  wheel_ = size == 4 ? wheel_ - z : 0;
  told_buttons_ = buttons_;
  const std::array<u8, 4> packet{static_cast<u8>(8 | (buttons_ & 7) | (x < 0) << 4 | (y < 0) << 5), static_cast<u8>(x),
                                 static_cast<u8>(y), static_cast<u8>(z)};
  return to.push(std::span(packet).first(size));
}

void Ps2Mouse::move(int dx, int dy, int wheel, u8 buttons) {
  const auto join = [](int& total, int step) { total = std::clamp(total + std::clamp(step, -most, most), -most, most); };
  join(dx_, dx);
  join(dy_, dy);
  join(wheel_, wheel);
  buttons_ = buttons & 7;
  if (!reporting_) {
    dx_ = dy_ = wheel_ = 0;
    told_buttons_ = buttons_;
  } else if (!remote_ && !wrap_) {
    while (make_packet(false, packets_)) {
    }
  }
}

u8 Ps2Mouse::take() {
  const u8 value = replies_.empty() ? packets_.pop() : replies_.pop();
  if (value != again) last_ = value;
  if (reporting_ && !remote_ && !wrap_ && packets_.empty()) (void)make_packet(false, packets_);
  return value;
}

void Ps2Mouse::save(state::Writer& out) const {
  replies_.save(out);
  packets_.save(out);
  for (u8 v : {expects_, last_, identity_, rate_, resolution_, buttons_, told_buttons_, knock_}) out.put(v);
  for (bool v : {reporting_, remote_, wrap_, scaling_}) out.put(v);
  for (int v : {dx_, dy_, wheel_}) out.put(static_cast<i32>(v));
}

void Ps2Mouse::restore(state::Reader& in) {
  replies_.restore(in);
  packets_.restore(in);
  for (u8* v : {&expects_, &last_, &identity_, &rate_, &resolution_, &buttons_, &told_buttons_, &knock_}) in.get(*v);
  for (bool* v : {&reporting_, &remote_, &wrap_, &scaling_}) in.get(*v);
  for (int* v : {&dx_, &dy_, &wheel_}) {
    *v = in.get<i32>();
    if (*v < -most || *v > most) in.reject("the mouse has moved further than it can");
  }
}

}  // namespace nagaya::chipset
