// One device, several address ranges: each range is an IoWindow that forwards to the device with its own base added, so
// that the device sees one flat space of offsets (for port devices: the port number itself).
#pragma once
#include "bus/bus.hpp"

namespace nagaya::bus {

class IoWindow final : public IoTarget {
 public:
  /// Offset 0 of the window is offset `base` of `device`, which must outlive the window.
  IoWindow(IoTarget& device, u64 base) : device_(device), base_(base) {}
  void io_read(u64 offset, std::span<u8> data) override { device_.io_read(base_ + offset, data); }
  void io_write(u64 offset, std::span<const u8> data) override { device_.io_write(base_ + offset, data); }

 private:
  IoTarget& device_;
  u64 base_;
};

}  // namespace nagaya::bus
