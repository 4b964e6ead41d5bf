// A device's own thread: data paths run there, never on a vCPU.
#pragma once
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "base/types.hpp"

namespace nagaya::virtio {

/// Runs `serve(queue)` once for each kick, or once for several that came before it ran. Begins halted. Thread-safe.
class Worker {
 public:
  /// Queues are numbered 0..63.
  Worker(std::string name, std::function<void(unsigned queue)> serve);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void kick(unsigned queue);
  /// Afterwards `serve` does not run, and kicks so far are forgotten. Not from within `serve`.
  void halt();
  void go();

 private:
  void run();

  const std::function<void(unsigned)> serve_;
  std::mutex mutex_;
  std::condition_variable changed_, idle_;
  u64 kicked_ = 0;
  bool going_ = false, busy_ = false, end_ = false;
  std::jthread thread_;
};

}  // namespace nagaya::virtio
