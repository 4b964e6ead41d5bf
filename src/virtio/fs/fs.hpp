// File system device: a folder of the host, served by our own FUSE server. Source: VIRTIO 1.2, 5.11.
//
// A few threads take requests from the rings and serve them to their end; content passes straight between the guest's
// memory and the host's page cache.
#pragma once
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "fuse/server.hpp"
#include "virtio/device.hpp"

namespace nagaya::virtio {

struct FsConfig {
  std::string tag;             ///< 1 to 36 bytes
  unsigned request_queues = 1;  ///< 1..63
  unsigned threads = 4;         ///< requests served at a time
};

class Fs final : public VirtioDevice {
 public:
  Fs(std::string name, memory::GuestMemory& memory, std::unique_ptr<fuse::Server> server, FsConfig config);
  ~Fs() override;

 private:
  [[nodiscard]] u64 device_features() const override { return 0; }
  void read_config(u64 offset, std::span<u8> data) override;
  void start() override;
  void stop() override;
  void kicked(unsigned queue) override;
  void reset_state() override { server_->reset(); }
  void save_state(state::Writer& out) const override { server_->save(out); }
  void restore_state(state::Reader& in) override;

  /// A thread's life.
  void run();
  /// The next request of the queues that were kicked, urgent ones first; false when there is none. With the lock held.
  [[nodiscard]] bool take(Chain& chain, unsigned& queue);
  [[nodiscard]] u64 serve(const Chain& chain);

  const FsConfig config_;
  const std::unique_ptr<fuse::Server> server_;
  std::mutex mutex_;  // guards all below, and the rings
  std::condition_variable work_, idle_;
  u64 kicked_ = 0;  // a bit for each queue
  unsigned busy_ = 0;
  bool going_ = false, end_ = false;
  std::vector<std::jthread> threads_;
};

}  // namespace nagaya::virtio
