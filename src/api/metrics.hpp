// Counters of the server, and all that /metrics shows (Prometheus text format 0.0.4, base units).
#pragma once
#include <array>
#include <atomic>
#include <map>
#include <mutex>
#include <string>

#include "api/access.hpp"
#include "api/backend.hpp"

namespace nagaya::api {

class Metrics {
 public:
  /// A request was answered. `operation` comes from the document, never from the caller.
  void answered(const std::string& operation, unsigned status, double seconds);
  std::atomic<i64> connections{0}, websockets{0}, followers{0}, refused_connections{0}, failed_logins{0};

  /// Domains are those the caller sees.
  [[nodiscard]] std::string render(Backend& backend, const Caller& caller, std::size_t operations_running) const;

 private:
  static constexpr std::array<double, 8> bounds = {0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60};
  struct Served {
    std::map<unsigned, u64> by_status;
    std::array<u64, bounds.size() + 1> buckets{};
    double seconds = 0;
  };
  mutable std::mutex mutex_;
  std::map<std::string, Served> served_;  // guarded by mutex_
};

/// A label's value as the text format wants it.
[[nodiscard]] std::string label_text(std::string_view text);

}  // namespace nagaya::api
