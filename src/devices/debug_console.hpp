// Debug console, port E9h: each byte written goes to a sink, reads give E9h so that a guest can tell it is there (the
// convention of Bochs and QEMU's isa-debugcon). Bytes that the sink has no room for are dropped.
#pragma once
#include "bus/bus.hpp"
#include "bus/device.hpp"
#include "devices/char_sink.hpp"

namespace nagaya::devices {

class DebugConsole final : public bus::Device, public bus::IoTarget {
 public:
  static constexpr u64 io_size = 1;

  explicit DebugConsole(CharSink& sink) : sink_(sink) {}

  void io_read(u64 offset, std::span<u8> data) override;
  void io_write(u64 offset, std::span<const u8> data) override;

  [[nodiscard]] std::string_view name() const override { return "debug-console"; }
  [[nodiscard]] u32 state_version() const override { return 1; }
  void reset() override {}
  void pause() override {}
  void resume() override {}
  void save(state::Writer&) const override {}
  [[nodiscard]] Result<> restore(state::Reader& in) override { return in.finish(); }

 private:
  CharSink& sink_;
};

}  // namespace nagaya::devices
