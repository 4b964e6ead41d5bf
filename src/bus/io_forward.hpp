// Lets one device answer several address ranges: each IoForward member is an IoTarget that calls two of the device's
// member functions.
#pragma once
#include "bus/bus.hpp"

namespace nagaya::bus {

template <class Owner, void (Owner::*Read)(u64, std::span<u8>), void (Owner::*Write)(u64, std::span<const u8>)>
class IoForward final : public IoTarget {
 public:
  explicit IoForward(Owner& owner) : owner_(owner) {}
  void io_read(u64 offset, std::span<u8> data) override { (owner_.*Read)(offset, data); }
  void io_write(u64 offset, std::span<const u8> data) override { (owner_.*Write)(offset, data); }

 private:
  Owner& owner_;
};

/// For registers one byte wide: a wider access is one access to each of the following ports, as on the ISA bus.
template <class Owner, u8 (Owner::*Read)(u64), void (Owner::*Write)(u64, u8)>
class ByteForward final : public IoTarget {
 public:
  explicit ByteForward(Owner& owner) : owner_(owner) {}
  void io_read(u64 offset, std::span<u8> data) override {
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = (owner_.*Read)(offset + i);
  }
  void io_write(u64 offset, std::span<const u8> data) override {
    for (std::size_t i = 0; i < data.size(); ++i) (owner_.*Write)(offset + i, data[i]);
  }

 private:
  Owner& owner_;
};

}  // namespace nagaya::bus
