// How a container is asked whether it is well: an image says it, or whoever makes the container.
#pragma once
#include <string>
#include <vector>

#include "base/types.hpp"

namespace nagaya::image {

struct HealthCheck {
  std::vector<std::string> test{};  ///< "CMD" and words, "CMD-SHELL" and one text for its shell, "NONE"; empty: not said
  u64 interval_ms = 0, timeout_ms = 0, start_period_ms = 0;  ///< 0: not said
  u64 retries = 0;                                           ///< failures in a row that make it unhealthy; 0: not said
  bool operator==(const HealthCheck&) const = default;
  [[nodiscard]] bool off() const { return test.empty() || test[0] == "NONE"; }
};

}  // namespace nagaya::image
