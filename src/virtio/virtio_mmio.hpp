// Virtio over MMIO, version 2. Source: VIRTIO 1.2, 4.2. The machine tells guests of the place (ACPI, device tree, or
// Linux's virtio_mmio.device=).
#pragma once
#include <memory>
#include <mutex>

#include "bus/bus.hpp"
#include "bus/device.hpp"
#include "bus/irq.hpp"
#include "virtio/device.hpp"

namespace nagaya::virtio {

class VirtioMmio final : public bus::Device, public bus::IoTarget, private Transport {
 public:
  static constexpr u64 io_size = 0x1000;

  VirtioMmio(std::unique_ptr<VirtioDevice> device, bus::IrqLine irq);
  ~VirtioMmio() override;

  [[nodiscard]] VirtioDevice& device() { return *device_; }

  // bus::IoTarget
  void io_read(u64 offset, std::span<u8> data) override;
  void io_write(u64 offset, std::span<const u8> data) override;

  // bus::Device
  [[nodiscard]] std::string_view name() const override { return device_->name(); }
  [[nodiscard]] u32 state_version() const override { return 1; }
  void reset() override;
  void pause() override { device_->pause(); }
  void resume() override { device_->resume(); }
  void save(state::Writer& out) const override;
  [[nodiscard]] Result<> restore(state::Reader& in) override;

 private:
  void queue_interrupt(unsigned queue) override;
  void config_interrupt() override;
  void raise(u32 bit);
  void acknowledge(u32 bits);
  [[nodiscard]] u32 read_register(u64 offset);
  void write_register(u64 offset, u32 value);

  const std::unique_ptr<VirtioDevice> device_;
  const bus::IrqLine irq_;
  std::mutex mutex_;  // guards the next three
  u32 device_feature_select_ = 0, driver_feature_select_ = 0, queue_select_ = 0;
  mutable std::mutex interrupt_mutex_;
  u32 interrupts_ = 0;  // guarded by interrupt_mutex_, as is the wire
};

}  // namespace nagaya::virtio
