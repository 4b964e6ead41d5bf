// Interrupt delivery as devices see it. Thread-safe.
#pragma once
#include "base/types.hpp"

namespace nagaya::bus {

/// The one sink of all interrupts; `machine` plugs in the models from chipset or the engine's own.
class IrqSink {
 public:
  virtual ~IrqSink() = default;
  /// Level of global system interrupt 0..23.
  virtual void set_line(unsigned gsi, bool level) = 0;
  /// Message-signalled interrupt: address FEExxxxxh and data (Intel SDM vol. 3, 11.11).
  virtual void send_msi(u64 address, u32 data) = 0;
};

/// One wire into a sink.
class IrqLine {
 public:
  IrqLine() = default;
  IrqLine(IrqSink& sink, unsigned gsi) : sink_(&sink), gsi_(gsi) {}
  void set(bool level) const {
    if (sink_) sink_->set_line(gsi_, level);
  }
  void pulse() const {
    set(true);
    set(false);
  }

 private:
  IrqSink* sink_ = nullptr;
  unsigned gsi_ = 0;
};

}  // namespace nagaya::bus
