// Memory balloon: the guest gives pages away on request and gets them back later; it also reports pages that it does not
// use. Source: VIRTIO 1.2, 5.5. What it gives away goes back to the host at once.
#pragma once
#include <mutex>
#include <optional>
#include <vector>

#include "virtio/device.hpp"
#include "virtio/worker.hpp"

namespace nagaya::virtio {

struct BalloonOptions {
  bool deflate_on_oom = true;       ///< a guest that runs out of memory takes pages back by itself
  bool free_page_reporting = true;
};

class Balloon final : public VirtioDevice {
 public:
  Balloon(std::string name, memory::GuestMemory& memory, const BalloonOptions& options = {});
  ~Balloon() override;

  /// Asks the guest to do with `keep` bytes of its memory. Thread-safe, as the two below.
  Result<> set_target(u64 keep);
  /// Bytes that the guest says it has given away.
  [[nodiscard]] u64 inflated() const;
  /// Target, state and the guest's statistics as they were last told, for a person. Asks the guest for new ones.
  [[nodiscard]] std::string describe();

 private:
  struct Statistic {
    u16 tag;
    u64 value;
  };

  [[nodiscard]] u64 device_features() const override;
  void read_config(u64 offset, std::span<u8> data) override;
  void write_config(u64 offset, std::span<const u8> data) override;
  void start() override { worker_.go(); }
  void stop() override { worker_.halt(); }
  void kicked(unsigned queue) override { worker_.kick(queue); }
  [[nodiscard]] int kick_event(unsigned) const override { return worker_.event(); }
  void reset_state() override;
  void save_state(state::Writer& out) const override;
  void restore_state(state::Reader& in) override;

  void serve(unsigned queue);
  void inflate(const Chain& chain);
  void give_back_pages();
  void take_report(const Chain& chain);
  void take_statistics();
  [[nodiscard]] u64 ram_pages() const;

  const BalloonOptions options_;
  mutable std::mutex mutex_;  // guards what follows
  u32 wished_pages_ = 0;  // by set_target; a guest that starts anew hears of it, too
  u32 target_pages_ = 0, actual_pages_ = 0;
  bool refresh_ = false;  // the guest shall tell its statistics anew
  std::vector<Statistic> statistics_;

  Chain chain_;                // the worker's
  std::vector<u32> pages_;     // the worker's
  Worker worker_;
};

}  // namespace nagaya::virtio
