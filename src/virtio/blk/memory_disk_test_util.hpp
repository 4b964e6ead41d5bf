// For tests: a disk in memory that answers on a thread of its own, in any order, and fails when told to.
#pragma once
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <random>

#include "block/disk.hpp"
#include "virtio/worker.hpp"

namespace nagaya::virtio::testing {

/// What outlives the disk, for looks from outside. Guarded by its mutex.
struct MemoryDiskState {
  std::mutex mutex;
  std::vector<u8> bytes;
  std::map<block::Op, unsigned> count;
  unsigned fua = 0, unmap = 0;
  int fail_with = 0;
  block::Capabilities can{.discard = true, .write_zeroes = true};
};

class MemoryDisk final : public block::Disk {
 public:
  explicit MemoryDisk(std::shared_ptr<MemoryDiskState> state)
      : state_(std::move(state)), worker_("memory-disk", [this](unsigned) { work(); }) {
    worker_.go();
  }
  ~MemoryDisk() override {
    drain();
    worker_.halt();
  }
  [[nodiscard]] u64 size() const override {
    std::lock_guard lock(state_->mutex);
    return state_->bytes.size();
  }
  [[nodiscard]] block::Capabilities capabilities() const override { return state_->can; }
  void submit(block::Request request) override {
    if (request.op == block::Op::flush && !state_->can.flush) return request.done(0);
    {
      std::lock_guard lock(mutex_);
      waiting_.push_back(std::move(request));
    }
    worker_.kick(0);
  }
  Result<> resize(u64 size) override {
    std::lock_guard lock(state_->mutex);
    state_->bytes.resize(size);
    return {};
  }
  void drain() override {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return waiting_.empty() && !busy_; });
  }
  Result<> close() override {
    drain();
    return {};
  }

 private:
  void work() {
    for (;;) {
      block::Request request;
      {
        std::lock_guard lock(mutex_);
        busy_ = false;
        idle_.notify_all();
        if (waiting_.empty()) return;
        std::swap(waiting_[random_() % waiting_.size()], waiting_.back());
        request = std::move(waiting_.back());
        waiting_.pop_back();
        busy_ = true;
      }
      request.done(perform(request));
    }
  }
  int perform(const block::Request& request) {
    std::lock_guard lock(state_->mutex);
    ++state_->count[request.op];
    state_->fua += request.fua;
    state_->unmap += request.may_unmap;
    if (state_->fail_with) return state_->fail_with;
    if (request.op == block::Op::flush) return 0;
    if (request.offset % 512 || request.length % 512 || request.offset + request.length > state_->bytes.size()) return EINVAL;
    u8* at = state_->bytes.data() + request.offset;
    if (request.op == block::Op::write_zeroes || request.op == block::Op::discard) std::fill_n(at, request.length, u8{0});
    for (const iovec& run : request.buffers) {
      if (request.op == block::Op::read) {
        std::memcpy(run.iov_base, at, run.iov_len);
      } else {
        std::memcpy(at, run.iov_base, run.iov_len);
      }
      at += run.iov_len;
    }
    return 0;
  }

  const std::shared_ptr<MemoryDiskState> state_;
  std::mutex mutex_;
  std::condition_variable idle_;
  std::vector<block::Request> waiting_;
  std::mt19937 random_{5};
  bool busy_ = false;
  Worker worker_;
};

}  // namespace nagaya::virtio::testing
