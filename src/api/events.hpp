// What happened: numbered, kept in the database and, the last of them, in memory. Whoever follows asks for what came after
// the number it has: no queue grows for a slow reader.
#pragma once
#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "api/access.hpp"
#include "api/database.hpp"

namespace nagaya::api {

inline constexpr std::size_t kept_events = 4096;

class Events {
 public:
  static Result<std::unique_ptr<Events>> open(Database& database);

  /// Gives it an id and a time. Thread-safe.
  void add(Json event);
  /// At most `most` events after `id` that the caller may see (of `domain` only, when given); `id` moves behind what was looked at.
  [[nodiscard]] std::vector<Json> after(i64& id, const Caller& caller, const std::string& domain, std::size_t most) const;
  [[nodiscard]] i64 last() const;
  /// Called after each event, from its thread; one listener.
  void on_event(std::function<void()> listener);

 private:
  explicit Events(Database& database) : database_(database) {}
  Database& database_;
  mutable std::mutex mutex_;
  std::deque<Json> events_;            // guarded by mutex_; by id
  i64 last_ = 0;                       // guarded by mutex_
  std::function<void()> listener_;     // guarded by mutex_
};

}  // namespace nagaya::api
