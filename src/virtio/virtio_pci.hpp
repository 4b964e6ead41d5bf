// Virtio over PCI, modern interface only. Source: VIRTIO 1.2, 4.1.
#pragma once
#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "bus/pci_device.hpp"
#include "host/fd.hpp"
#include "virtio/device.hpp"

namespace nagaya::virtio {

class VirtioPci final : public bus::PciDevice, private Transport {
 public:
  /// Where the structures lie in BAR 0.
  static constexpr u64 common_offset = 0, isr_offset = 0x1000, config_offset = 0x2000, msix_offset = 0x3000,
                       pending_offset = 0x3800, notify_offset = 0x4000, bar_size = 0x8000;
  static constexpr u32 notify_multiplier = 4;

  explicit VirtioPci(std::unique_ptr<VirtioDevice> device);
  ~VirtioPci() override;

  [[nodiscard]] VirtioDevice& device() { return *device_; }

  [[nodiscard]] u32 state_version() const override { return 1; }
  void pause() override { device_->pause(); }
  void resume() override { device_->resume(); }

 private:
  static constexpr u16 no_vector = 0xffff;

  void bar_read(unsigned bar, u64 offset, std::span<u8> data) override;
  void bar_write(unsigned bar, u64 offset, std::span<const u8> data) override;
  void config_reading(u16 offset, std::size_t length) override;
  void config_written(u16 offset, std::size_t length) override;
  void bar_moved(unsigned bar, std::optional<u64> address) override;
  void messages_changed() override;
  void reset_device() override;
  void save_device(state::Writer& out) const override;
  void restore_device(state::Reader& in) override;
  void queue_interrupt(unsigned queue) override;
  void config_interrupt() override;

  void add_structure(u8 kind, u64 offset, u32 length);
  void common_read(u64 offset, std::span<u8> data);
  void common_write(u64 offset, unsigned size, u64 value);
  void write_status(u8 value);
  void reset_registers();
  void raise(u16 vector, u8 isr_bit);
  void drop_event_paths();
  [[nodiscard]] u8 take_isr();
  [[nodiscard]] u16 good_vector(u64 value) const {
    return value < device_->queue_count() + 1 ? static_cast<u16>(value) : no_vector;
  }
  [[nodiscard]] bool window(u64& offset, unsigned& length);

  const std::unique_ptr<VirtioDevice> device_;
  u16 window_at_ = 0;  // the capability for access through configuration space
  std::mutex mutex_;   // guards the next four
  u32 device_feature_select_ = 0, driver_feature_select_ = 0;
  u16 queue_select_ = 0;
  std::vector<std::atomic<u16>> queue_vectors_;
  std::atomic<u16> config_vector_ = no_vector;
  /// A vector whose messages the engine sends by itself.
  struct DirectVector {
    host::Fd event;
    std::atomic<bool> active = false;
    bus::PciMsix::Vector message{};
  };
  std::mutex paths_mutex_;  // guards the next three, but for `active`
  bus::EventPaths* paths_ = nullptr;  // once used
  std::optional<u64> notified_at_;    // where the engine listens for notifications
  std::vector<DirectVector> direct_;
  std::mutex isr_mutex_;
  u8 isr_ = 0;  // guarded by isr_mutex_, as is the wire
};

}  // namespace nagaya::virtio
