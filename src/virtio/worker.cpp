#include "virtio/worker.hpp"

#include <bit>

#include "host/thread.hpp"

namespace nagaya::virtio {

Worker::Worker(std::string name, std::function<void(unsigned)> serve)
    : serve_(std::move(serve)), thread_(host::start_thread(std::move(name), [this] { run(); })) {}

Worker::~Worker() {
  {
    std::lock_guard lock(mutex_);
    end_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Worker::kick(unsigned queue) {
  {
    std::lock_guard lock(mutex_);
    if (!going_) return;
    kicked_ |= u64{1} << (queue & 63);
    if (busy_) return;  // it looks again before it sleeps
  }
  changed_.notify_one();
}

void Worker::halt() {
  std::unique_lock lock(mutex_);
  going_ = false;
  kicked_ = 0;
  idle_.wait(lock, [this] { return !busy_; });
}

void Worker::go() {
  std::lock_guard lock(mutex_);
  going_ = true;
}

void Worker::run() {
  std::unique_lock lock(mutex_);
  while (!end_) {
    if (!going_ || kicked_ == 0) {
      changed_.wait(lock);
      continue;
    }
    const unsigned queue = static_cast<unsigned>(std::countr_zero(kicked_));
    kicked_ &= kicked_ - 1;
    busy_ = true;
    lock.unlock();
    serve_(queue);
    lock.lock();
    busy_ = false;
    if (!going_) idle_.notify_all();
  }
}

}  // namespace nagaya::virtio
