// Logging to standard error, one line per record. Guests must not be able to flood it: what a guest can trigger goes
// through a RateLimit.
#pragma once
#include <fmt/core.h>

#include <atomic>
#include <string_view>

#include "base/types.hpp"

namespace nagaya::log {

enum class Level : u8 { debug, info, warning, error, off };

/// Records below `level` are dropped. The default is `warning`; NAGAYA_LOG=debug|info|warning|error|off overrides it.
void set_level(Level level);
[[nodiscard]] bool enabled(Level level);
void write(Level level, std::string_view text);

template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::debug)) write(Level::debug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::info)) write(Level::info, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::warning)) write(Level::warning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::error)) write(Level::error, fmt::format(format, std::forward<Args>(args)...));
}

/// Lets the first `limit` events through, ever: `if (limit.pass()) log::warning(…)`. Thread-safe.
class RateLimit {
 public:
  explicit constexpr RateLimit(u32 limit) : left_(limit) {}
  [[nodiscard]] bool pass() {
    u32 left = left_.load(std::memory_order_relaxed);
    while (left != 0) {
      if (left_.compare_exchange_weak(left, left - 1, std::memory_order_relaxed)) return true;
    }
    return false;
  }

 private:
  std::atomic<u32> left_;
};

}  // namespace nagaya::log
