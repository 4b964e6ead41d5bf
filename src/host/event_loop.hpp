// Waits for descriptors (epoll) and runs what belongs to each, on the thread that calls run(). Nothing polls.
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"
#include "host/fd.hpp"

namespace nagaya::host {

class EventLoop {
 public:
  using Callback = std::function<void(u32 events)>;  ///< EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR bits

  static Result<std::unique_ptr<EventLoop>> create();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  /// Calls `callback` on the loop's thread whenever `fd` shows one of `events` (level-triggered). The caller keeps the
  /// descriptor open until `remove`. Regular files cannot be watched (error EPERM). Thread-safe, as are all below.
  Result<> add(int fd, u32 events, Callback callback);
  /// Changes which events are watched; 0 keeps the entry but silences it (errors and hang-ups too).
  Result<> modify(int fd, u32 events);
  /// Afterwards the callback is not called again; from another thread it waits for one that runs.
  void remove(int fd);
  /// Runs `task` on the loop's thread soon.
  void post(std::function<void()> task);
  /// Until stop().
  void run();
  /// One round of waiting, at most `timeout_ms` (-1: no limit).
  void run_once(int timeout_ms);
  void stop();

 private:
  EventLoop() = default;
  struct Entry;
  void dispatch(int timeout_ms);

  Fd epoll_, wake_;
  std::mutex mutex_;
  std::unordered_map<int, std::shared_ptr<Entry>> entries_;  // guarded by mutex_
  std::vector<std::function<void()>> posted_;                // guarded by mutex_
  bool stop_ = false;                                        // guarded by mutex_
};

}  // namespace nagaya::host
