// What the host is and offers.
#pragma once
#include <chrono>
#include <mutex>

#include "api/backend.hpp"

namespace nagaya::api {

class HostInfo {
 public:
  /// Info. Load and memory are those of now; what `nagaya doctor` says is kept for five minutes.
  Result<Json> get();

 private:
  Json checks();
  std::mutex mutex_;
  Json checks_ = Json::array();                      // guarded by mutex_
  std::chrono::steady_clock::time_point looked_{};   // guarded by mutex_
};

}  // namespace nagaya::api
