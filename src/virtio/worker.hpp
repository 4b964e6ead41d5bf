// The thread of a device's data path: it sleeps until a driver's notification comes.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "base/types.hpp"
#include "host/fd.hpp"

namespace nagaya::virtio {

/// Runs `serve(queue)` once for each kick, or once for several that came before it ran. Begins halted. Thread-safe.
class Worker {
 public:
  /// Queues are numbered 0..63; `queues` of them exist.
  Worker(std::string name, std::function<void(unsigned queue)> serve, unsigned queues = 64);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// On vCPU threads: no lock, and a system call only when the thread sleeps.
  void kick(unsigned queue);
  /// An eventfd that kicks all queues when it is signalled (by KVM, for one); -1: the host had none to give.
  [[nodiscard]] int event() const { return event_.get(); }
  /// Afterwards `serve` does not run, and kicks so far are forgotten. Not from within `serve`.
  void halt();
  void go();

 private:
  void run();
  void sleep();
  void wake();

  const std::function<void(unsigned)> serve_;
  const u64 all_;  // queues
  const host::Fd event_;
  std::atomic<u64> kicked_ = 0;
  std::atomic<bool> asleep_ = false, going_ = false, busy_ = false, end_ = false;
  std::mutex mutex_;  // of those who wait for `busy_` to end
  std::condition_variable idle_;
  std::jthread thread_;
};

}  // namespace nagaya::virtio
