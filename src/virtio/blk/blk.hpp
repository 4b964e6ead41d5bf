// Block device over any block::Disk: several queues, flush, discard, write-zeroes, resize. Source: VIRTIO 1.2, 5.2.
//
// A thread takes requests from the rings and hands them to the disk; they end on the disk's threads, in any order. What
// the host has no space for is held, and tried again after the machine was paused and goes on.
#pragma once
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "block/disk.hpp"
#include "virtio/device.hpp"
#include "virtio/worker.hpp"

namespace nagaya::virtio {

struct BlkConfig {
  unsigned queues = 1;     ///< 1..64
  u16 queue_size = 256;    ///< a power of two, at least 4
  std::string serial{};    ///< at most 20 bytes reach the guest
  u32 block_size = 512;    ///< what the guest addresses at least: 512 to 4096, a power of two
  /// The host ran out of space, and a request is held until the next resume(). On a thread of the disk's; it may ask for
  /// a pause, but not wait for it. Empty: such requests fail.
  std::function<void()> out_of_space{};
};

class Blk final : public VirtioDevice {
 public:
  Blk(std::string name, memory::GuestMemory& memory, std::unique_ptr<block::Disk> disk, BlkConfig config = {});
  ~Blk() override;

  /// A new size in bytes, a multiple of 512; the guest is told. Never smaller: a guest that runs cannot take that.
  Result<> resize(u64 size);
  /// Makes everything that was written durable, and waits for it. Not on a thread of the disk's.
  Result<> sync();
  /// Bytes the host can still give it; ~0: unknown.
  [[nodiscard]] u64 host_space() const { return disk_->host_space(); }

 private:
  /// A request on its way.
  struct Slot {
    Chain chain;
    std::vector<iovec> buffers;
    unsigned queue = 0;
  };

  [[nodiscard]] u64 device_features() const override;
  void read_config(u64 offset, std::span<u8> data) override;
  void write_config(u64 offset, std::span<const u8> data) override;
  void start() override;
  void stop() override;
  void kicked(unsigned queue) override { worker_.kick(queue); }
  [[nodiscard]] int kick_event(unsigned) const override { return worker_.event(); }
  void reset_state() override;
  void save_state(state::Writer& out) const override;
  void restore_state(state::Reader& in) override;

  void serve(unsigned queue);
  bool take(Slot& slot);
  void begin(Slot* slot);
  void begin_transfer(Slot* slot, bool write, u64 sector);
  void begin_range(Slot* slot, bool zeroes);
  void submit(Slot* slot, block::Request request);
  void disk_done(Slot* slot, bool changes, int error);
  void end(Slot* slot, u8 status);
  [[nodiscard]] bool within(u64 sector, u64 bytes) const;
  [[nodiscard]] bool write_through() const;
  [[nodiscard]] Slot* new_slot();
  void free_slot(Slot* slot);

  const BlkConfig config_;
  const std::unique_ptr<block::Disk> disk_;
  const block::Capabilities can_;
  std::atomic<bool> write_back_ = true;
  std::vector<std::mutex> queue_mutexes_;  // ring work: the worker pops while the disk's threads push
  mutable std::mutex mutex_;               // guards the rest
  std::condition_variable ended_;
  unsigned active_ = 0;                        // slots neither free nor held
  std::vector<std::unique_ptr<Slot>> slots_;   // all there are
  std::vector<Slot*> free_, held_;
  Worker worker_;
};

}  // namespace nagaya::virtio
