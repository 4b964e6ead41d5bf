#include "virtio/worker.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <bit>
#include <utility>

#include "host/thread.hpp"

namespace nagaya::virtio {
namespace {

// What kick() adds to the eventfd's counter; others add 1 for each signal.
constexpr u64 own_mark = u64{1} << 32;

host::Fd make_event() {
  auto event = host::Fd::eventfd();
  if (!event || ::fcntl(event->get(), F_SETFL, 0) != 0) return {};  // reads wait
  return std::move(*event);
}

}  // namespace

// Pairs of flags order the two sides, each a store before a load in the one total order: kicked_ and asleep_ (a kick is
// seen before the thread sleeps, or the sleeper is seen), busy_ and going_ (work does not begin, or is waited for).

Worker::Worker(std::string name, std::function<void(unsigned)> serve, unsigned queues)
    : serve_(std::move(serve)),
      all_(queues >= 64 ? ~u64{0} : (u64{1} << queues) - 1),
      event_(make_event()),
      thread_(host::start_thread(std::move(name), [this] { run(); })) {}

Worker::~Worker() {
  end_ = true;
  wake();
  if (thread_.joinable()) thread_.join();
}

void Worker::kick(unsigned queue) {
  if (!going_) return;
  kicked_ |= u64{1} << (queue & 63);
  if (asleep_) wake();
}

void Worker::wake() {
  if (!asleep_.exchange(false) && !end_) return;
  if (event_) {
    (void)!::write(event_.get(), &own_mark, sizeof own_mark);
  } else {
    asleep_.notify_one();
  }
}

void Worker::sleep() {
  asleep_ = true;
  if (end_ || (going_ && kicked_ != 0)) {
    asleep_ = false;
    return;
  }
  if (event_) {
    u64 count = 0;
    if (::read(event_.get(), &count, sizeof count) == sizeof count && count % own_mark != 0) kicked_ |= all_;
    asleep_ = false;
  } else {
    asleep_.wait(true);
  }
}

void Worker::halt() {
  going_ = false;
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return !busy_; });
}

void Worker::go() {
  kicked_ = 0;
  going_ = true;
}

void Worker::run() {
  while (!end_) {
    busy_ = true;
    u64 queues = going_ ? kicked_.exchange(0) : 0;
    const bool idle = queues == 0;
    for (; queues != 0 && going_; queues &= queues - 1) serve_(static_cast<unsigned>(std::countr_zero(queues)));
    busy_ = false;
    if (!going_) {
      const std::lock_guard lock(mutex_);
      idle_.notify_all();
    }
    if (idle) sleep();
  }
}

}  // namespace nagaya::virtio
