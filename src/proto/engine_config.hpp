// How the software engine runs, beside the machine it runs: {"code_cache": 134217728, "log": "engine.log", "count_blocks": true,
// "perf_map": true, "direct": "auto"}. Every key is optional.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::proto {

struct SoftEngineConfig {
  u64 code_cache = 0;         ///< bound on translated code in bytes, 1 MiB to 1 GiB; 0: the engine's own
  std::string direct{};       ///< execution of programs as they are: "auto" (or nothing), "off" or "always"
  std::string log{};          ///< file that gets counters and translations at the end
  bool count_blocks = false;  ///< … with executions of each block, which costs speed
  bool perf_map = false;      ///< /tmp/perf-PID.map for perf(1)
  bool operator==(const SoftEngineConfig&) const = default;
  /// Whether it asks to look inside, which needs this engine.
  [[nodiscard]] bool observes() const { return !log.empty() || count_blocks || perf_map; }

  [[nodiscard]] Result<> validate() const;
};

[[nodiscard]] nlohmann::ordered_json to_json(const SoftEngineConfig& config);
[[nodiscard]] Result<SoftEngineConfig> soft_engine_from(const nlohmann::json& value);

}  // namespace nagaya::proto
