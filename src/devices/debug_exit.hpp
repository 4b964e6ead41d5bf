// A port that ends the machine with a status: value v gives the exit code (v << 1) | 1 (the convention of QEMU's
// isa-debug-exit, which CPU test suites use).
#pragma once
#include <functional>

#include "bus/bus.hpp"
#include "bus/device.hpp"

namespace nagaya::devices {

class DebugExit final : public bus::Device, public bus::IoTarget {
 public:
  static constexpr u64 io_size = 4;

  /// `exit` gets (value << 1) | 1; called on a vCPU thread.
  explicit DebugExit(std::function<void(u32 status)> exit) : exit_(std::move(exit)) {}

  void io_read(u64 offset, std::span<u8> data) override;
  void io_write(u64 offset, std::span<const u8> data) override;

  [[nodiscard]] std::string_view name() const override { return "debug-exit"; }
  [[nodiscard]] u32 state_version() const override { return 1; }
  void reset() override {}
  void pause() override {}
  void resume() override {}
  void save(state::Writer&) const override {}
  [[nodiscard]] Result<> restore(state::Reader& in) override { return in.finish(); }

 private:
  const std::function<void(u32)> exit_;
};

}  // namespace nagaya::devices
