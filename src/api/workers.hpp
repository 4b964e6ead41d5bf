// A few threads with a bounded queue, for what may block.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace nagaya::api {

class Workers {
 public:
  Workers(const std::string& name, unsigned threads, std::size_t most_waiting);
  /// Finishes what runs; what waits is dropped.
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  /// False: too many wait already.
  [[nodiscard]] bool post(std::function<void()> work);

 private:
  void run();
  const std::size_t most_waiting_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> waiting_;  // guarded by mutex_
  bool stop_ = false;                          // guarded by mutex_
  std::vector<std::jthread> threads_;
};

}  // namespace nagaya::api
