// The test device that CPU test suites (kvm-unit-tests) expect: interface of QEMU's pc-testdev. Four ranges: an I/O
// register that echoes (E0h, 4 ports), "flush page" (E4h, 4 ports), interrupt lines (2000h, 24 ports: port 2000h + n sets
// line n to the value's truth), and 64 KiB of MMIO that behaves as memory (FF000000h).
#pragma once
#include <array>
#include <memory>
#include <mutex>

#include "bus/bus.hpp"
#include "bus/device.hpp"
#include "bus/io_forward.hpp"
#include "bus/irq.hpp"

namespace nagaya::devices {

class PcTestdev final : public bus::Device {
 public:
  static constexpr u64 io_size = 4, flush_size = 4, irq_size = 24, mmio_size = 0x10000;

  explicit PcTestdev(bus::IrqSink& irqs);

  [[nodiscard]] bus::IoTarget& ioport() { return ioport_; }
  [[nodiscard]] bus::IoTarget& flush_port() { return flush_port_; }
  [[nodiscard]] bus::IoTarget& irq_port() { return irq_port_; }
  [[nodiscard]] bus::IoTarget& mmio() { return mmio_; }

  [[nodiscard]] std::string_view name() const override { return "pc-testdev"; }
  [[nodiscard]] u32 state_version() const override { return 1; }
  void reset() override;
  void pause() override {}
  void resume() override {}
  void save(state::Writer& out) const override;
  [[nodiscard]] Result<> restore(state::Reader& in) override;

 private:
  void read_io(u64 offset, std::span<u8> data);
  void write_io(u64 offset, std::span<const u8> data);
  void read_flush(u64 offset, std::span<u8> data);
  void write_flush(u64 offset, std::span<const u8> data);
  void read_irq(u64 offset, std::span<u8> data);
  void write_irq(u64 offset, std::span<const u8> data);
  void read_mmio(u64 offset, std::span<u8> data);
  void write_mmio(u64 offset, std::span<const u8> data);

  bus::IrqSink& irqs_;
  bus::IoForward<PcTestdev, &PcTestdev::read_io, &PcTestdev::write_io> ioport_{*this};
  bus::IoForward<PcTestdev, &PcTestdev::read_flush, &PcTestdev::write_flush> flush_port_{*this};
  bus::IoForward<PcTestdev, &PcTestdev::read_irq, &PcTestdev::write_irq> irq_port_{*this};
  bus::IoForward<PcTestdev, &PcTestdev::read_mmio, &PcTestdev::write_mmio> mmio_{*this};

  mutable std::mutex mutex_;  // guards all below
  std::array<u8, io_size> io_{};
  std::array<bool, irq_size> lines_{};
  std::vector<u8> memory_;
};

}  // namespace nagaya::devices
