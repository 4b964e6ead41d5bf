#include "block/throttle.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>

#include "block/bucket.hpp"
#include "host/thread.hpp"

namespace nagaya::block {
namespace {

using Clock = std::chrono::steady_clock;

// Holds requests in order until every bucket that concerns them lets them pass. A bucket in debt holds back only what
// takes from it, so reads pass writes that wait, and the other way round.
class ThrottledDisk final : public Disk {
 public:
  ThrottledDisk(std::unique_ptr<Disk> disk, const ThrottleLimits& l)
      : disk_(std::move(disk)),
        requests_{Bucket(l.iops), Bucket(l.read_iops), Bucket(l.write_iops)},
        bytes_{Bucket(l.bps), Bucket(l.read_bps), Bucket(l.write_bps)},
        thread_(host::start_thread("disk-throttle", [this] { run(); })) {}

  ~ThrottledDisk() override {
    (void)close();
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }

  u64 size() const override { return disk_->size(); }
  Capabilities capabilities() const override { return disk_->capabilities(); }
  u64 host_space() const override { return disk_->host_space(); }

  void submit(Request request) override {
    if (request.op != Op::flush) {
      const std::lock_guard lock(mutex_);
      auto& queue = held_[request.op == Op::read ? 0 : 1];
      if (!queue.empty() || !pass(request)) {
        queue.push_back(std::move(request));
        wake_.notify_all();
        return;
      }
    }
    disk_->submit(std::move(request));
  }

  Result<> resize(u64 size) override { return disk_->resize(size); }

  void drain() override {
    {
      std::unique_lock lock(mutex_);
      quiet_.wait(lock, [this] { return held_[0].empty() && held_[1].empty() && !moving_; });
    }
    disk_->drain();
  }

  Result<> close() override {
    drain();
    return disk_->close();
  }

 private:
  static double now() { return std::chrono::duration<double>(Clock::now().time_since_epoch()).count(); }

  // Takes from the buckets if all of them have something left; the lock is held.
  bool pass(const Request& request) {
    const std::size_t side = request.op == Op::read ? 1 : 2;
    const double at = now();
    const bool moves = request.op == Op::read || request.op == Op::write;
    if (wait_of(side, at) > 0) return false;
    for (const std::size_t i : {std::size_t{0}, side}) {
      requests_[i].take(1, at);
      if (moves) bytes_[i].take(static_cast<double>(request.length), at);
    }
    return true;
  }

  double wait_of(std::size_t side, double at) const {
    return std::max({requests_[0].wait(at), requests_[side].wait(at), bytes_[0].wait(at), bytes_[side].wait(at)});
  }

  void run() {
    std::unique_lock lock(mutex_);
    while (!stop_) {
      std::deque<Request> ready;
      double wait = -1;
      for (std::size_t i = 0; i < 2; ++i) {
        auto& queue = held_[i];
        while (!queue.empty() && pass(queue.front())) {
          ready.push_back(std::move(queue.front()));
          queue.pop_front();
        }
        if (!queue.empty()) {
          const double one = wait_of(i + 1, now());
          wait = wait < 0 ? one : std::min(wait, one);
        }
      }
      if (!ready.empty()) {
        moving_ = true;
        lock.unlock();
        for (Request& request : ready) disk_->submit(std::move(request));
        lock.lock();
        moving_ = false;
        quiet_.notify_all();
      } else if (wait < 0) {
        quiet_.notify_all();
        wake_.wait(lock);
      } else {
        wake_.wait_for(lock, std::chrono::duration<double>(std::clamp(wait, 0.0005, 1.0)));
      }
    }
  }

  std::unique_ptr<Disk> disk_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_, quiet_;
  std::array<Bucket, 3> requests_, bytes_;  // all, reads, changes
  std::array<std::deque<Request>, 2> held_;  // reads, changes
  bool moving_ = false, stop_ = false;
  std::jthread thread_;
};

}  // namespace

std::unique_ptr<Disk> throttle(std::unique_ptr<Disk> disk, const ThrottleLimits& limits) {
  return std::make_unique<ThrottledDisk>(std::move(disk), limits);
}

}  // namespace nagaya::block
