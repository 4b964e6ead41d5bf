// Entropy device: the host's random numbers. Source: VIRTIO 1.2, 5.4.
#pragma once
#include <condition_variable>
#include <mutex>

#include "virtio/device.hpp"
#include "virtio/worker.hpp"

namespace nagaya::virtio {

struct RngConfig {
  u64 bytes_per_second = MiB;  ///< what a guest may draw from the host in the long run; not 0
};

class Rng final : public VirtioDevice {
 public:
  Rng(std::string name, memory::GuestMemory& memory, const RngConfig& config = {});
  ~Rng() override;

 private:
  [[nodiscard]] u64 device_features() const override { return 0; }
  void read_config(u64, std::span<u8>) override {}
  void start() override;
  void stop() override;
  void kicked(unsigned) override { worker_.kick(0); }
  [[nodiscard]] int kick_event(unsigned) const override { return worker_.event(); }
  std::optional<u64> serve(const Chain& chain);
  [[nodiscard]] u64 allowance(u64 wanted);

  const RngConfig config_;
  Chain chain_;
  std::mutex mutex_;  // guards the budget's wait
  std::condition_variable stopped_;
  bool stopping_ = false;
  u64 budget_ = 0, refilled_ns_ = 0;  // the worker's
  Worker worker_;
};

}  // namespace nagaya::virtio
