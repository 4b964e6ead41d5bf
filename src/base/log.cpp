#include "base/log.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>

namespace nagaya::log {
namespace {

spdlog::level::level_enum native(Level level) {
  switch (level) {
    case Level::debug: return spdlog::level::debug;
    case Level::info: return spdlog::level::info;
    case Level::warning: return spdlog::level::warn;
    case Level::error: return spdlog::level::err;
    case Level::off: return spdlog::level::off;
  }
  return spdlog::level::off;
}

Level initial_level() {
  const char* text = std::getenv("NAGAYA_LOG");
  const std::string_view name = text != nullptr ? text : "";
  if (name == "debug") return Level::debug;
  if (name == "info") return Level::info;
  if (name == "error") return Level::error;
  if (name == "off") return Level::off;
  return Level::warning;
}

std::atomic<Level>& threshold() {
  static std::atomic<Level> level = initial_level();
  return level;
}

spdlog::logger& logger() {
  // Never destroyed: threads may log while the process exits.
  static auto* instance = [] {
    auto* made = new spdlog::logger("nagaya", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("nagaya: %l: %v");
    made->set_level(spdlog::level::trace);
    return made;
  }();
  return *instance;
}

}  // namespace

void set_level(Level level) { threshold().store(level, std::memory_order_relaxed); }

bool enabled(Level level) {
  const Level now = threshold().load(std::memory_order_relaxed);
  return now != Level::off && level >= now;
}

void write(Level level, std::string_view text) { logger().log(native(level), text); }

}  // namespace nagaya::log
