#include "block/pool_disk.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <vector>

#include "host/thread.hpp"

namespace nagaya::block {

int request_error(const Request& request, u64 size, const Capabilities& capabilities) {
  if (request.op == Op::flush) return 0;
  if (request.op != Op::read && capabilities.read_only) return EROFS;
  if (request.op == Op::discard && !capabilities.discard) return ENOTSUP;
  if (request.op == Op::write_zeroes && !capabilities.write_zeroes) return ENOTSUP;
  if (request.offset % sector_size != 0 || request.length % sector_size != 0) return EINVAL;
  if (!in_range(request.offset, request.length, size)) return EINVAL;
  const bool moves = request.op == Op::read || request.op == Op::write;
  return moves && iov_length(request.buffers) != request.length ? EINVAL : 0;
}

int execute(Image& image, const Request& request) {
  if (const int error = request_error(request, image.size(), image.capabilities()); error != 0) return error;
  int error = 0;
  switch (request.op) {
    case Op::read: return image.read(request.offset, request.buffers);
    case Op::write: error = image.write(request.offset, request.buffers); break;
    case Op::flush: return image.flush();
    case Op::discard: return image.discard(request.offset, request.length);
    case Op::write_zeroes: error = image.write_zeroes(request.offset, request.length, request.may_unmap); break;
  }
  return error == 0 && request.fua ? image.flush() : error;
}

bool served_at_once(Image& image, const Request& request) {
  if (request.op != Op::read || request.length > most_at_once) return false;
  return request_error(request, image.size(), image.capabilities()) == 0 && image.read_now(request.offset, request.buffers) == 0;
}

namespace {

class PoolDisk final : public Disk {
 public:
  PoolDisk(std::unique_ptr<Image> image, unsigned threads) : image_(std::move(image)) {
    if (threads == 0) threads = std::clamp(host::usable_cpus() * 2, 2u, 16u);
    for (unsigned i = 0; i < threads; ++i) workers_.push_back(host::start_thread("disk", [this] { work(); }));
  }

  ~PoolDisk() override {
    (void)close();
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
  }

  u64 size() const override { return image_->size(); }
  Capabilities capabilities() const override { return image_->capabilities(); }
  u64 host_space() const override { return image_->host_space(); }

  void submit(Request request) override {
    bool at_once = false;
    if (const std::shared_lock gate(gate_, std::try_to_lock); gate && !closed_) at_once = served_at_once(*image_, request);
    if (at_once) {
      if (request.done) request.done(0);
      return;
    }
    bool accepted = false, sleeper = false;
    {
      const std::lock_guard lock(mutex_);
      if (!closed_) {
        ++in_flight_;
        queue_.push_back(std::move(request));
        accepted = true;
        sleeper = idle_ != 0;
      }
    }
    // Without the lock, which the one that wakes would run into.
    if (sleeper) wake_.notify_one();
    if (!accepted && request.done) request.done(ESHUTDOWN);
  }

  Result<> resize(u64 size) override {
    const std::unique_lock gate(gate_);
    return image_->resize(size);
  }

  void drain() override {
    std::unique_lock lock(mutex_);
    quiet_.wait(lock, [this] { return in_flight_ == 0; });
  }

  Result<> close() override {
    {
      std::unique_lock lock(mutex_);
      if (closed_.exchange(true)) return {};
      quiet_.wait(lock, [this] { return in_flight_ == 0; });
    }
    const std::unique_lock gate(gate_);
    return image_->close();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      while (queue_.empty()) {
        if (stop_) return;
        ++idle_;
        wake_.wait(lock);
        --idle_;
      }
      Request request = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      int error;
      {
        const std::shared_lock gate(gate_);
        error = execute(*image_, request);
      }
      if (request.done) request.done(error);
      request.done = nullptr;
      lock.lock();
      if (--in_flight_ == 0) quiet_.notify_all();
    }
  }

  std::unique_ptr<Image> image_;
  std::shared_mutex gate_;  // shared: a request runs; alone: a resize, the end
  std::mutex mutex_;        // guards what follows
  std::condition_variable wake_, quiet_;
  std::deque<Request> queue_;
  u64 in_flight_ = 0;
  unsigned idle_ = 0;
  std::atomic<bool> closed_ = false;  // changes under the lock
  bool stop_ = false;
  std::vector<std::jthread> workers_;
};

}  // namespace

std::unique_ptr<Disk> pool_disk(std::unique_ptr<Image> image, unsigned threads) {
  return std::make_unique<PoolDisk>(std::move(image), threads);
}

}  // namespace nagaya::block
