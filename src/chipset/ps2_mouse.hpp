// A PS/2 mouse with a wheel (IntelliMouse protocol), as its controller sees it. Not locked: the controller does. Source:
// IBM PS/2 Technical Reference (1988), "Mouse"; Microsoft IntelliMouse: sample rates 200, 100, 80 in a row give identity 3.
#pragma once
#include "chipset/byte_queue.hpp"

namespace nagaya::chipset {

class Ps2Mouse {
 public:
  void reset();
  void receive(u8 value);
  /// See I8042::mouse. Movement that does not fit is kept and joined to the next packet.
  void move(int dx, int dy, int wheel, u8 buttons);
  [[nodiscard]] bool has_data() const { return !replies_.empty() || !packets_.empty(); }
  u8 take();

  void save(state::Writer& out) const;
  void restore(state::Reader& in);

 private:
  void reply(u8 value);
  void defaults();
  void command(u8 value);
  /// Makes one packet of what has gathered; false when there is nothing to tell or no room.
  bool make_packet(bool always, ByteQueue<32>& to);

  ByteQueue<32> replies_, packets_;
  u8 expects_ = 0, last_ = 0, identity_ = 0, rate_ = 100, resolution_ = 2, buttons_ = 0, told_buttons_ = 0;
  u8 knock_ = 0;  // how much of 200, 100, 80 has been heard
  bool reporting_ = false, remote_ = false, wrap_ = false, scaling_ = false;
  int dx_ = 0, dy_ = 0, wheel_ = 0;
};

}  // namespace nagaya::chipset
