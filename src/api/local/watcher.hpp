// Sees what becomes of domains, whoever did it: compares what there is with what there was.
#pragma once
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "api/backend.hpp"

namespace nagaya::api {

class Watcher {
 public:
  explicit Watcher(std::function<Result<Json>()> list) : list_(std::move(list)) {}
  ~Watcher() { stop(); }
  void start(EventSink sink);
  void stop();
  /// What the comparison cannot see.
  void tell(const std::string& kind, const std::string& domain, const std::string& project);

 private:
  struct Seen {
    std::string state, started, project, health;
    bool operator==(const Seen&) const = default;
  };
  void look();
  const std::function<Result<Json>()> list_;
  std::mutex mutex_;
  EventSink sink_;                    // guarded by mutex_
  std::map<std::string, Seen> seen_;  // the watching thread's
  bool first_ = true;
  std::jthread thread_;
};

/// The events between two lists of one domain's states; empty states: it was not there, it is not there any more.
[[nodiscard]] std::vector<std::string> events_between(const std::string& before, const std::string& after, bool started_again);

}  // namespace nagaya::api
