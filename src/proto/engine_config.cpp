#include "proto/engine_config.hpp"

#include "proto/device_config.hpp"
#include "proto/json_fields.hpp"

namespace nagaya::proto {
namespace {

constexpr u64 least_code_cache = MiB, most_code_cache = GiB;  // its branches reach 2 GiB

}  // namespace

Result<> SoftEngineConfig::validate() const {
  if (code_cache != 0 && (code_cache < least_code_cache || code_cache > most_code_cache || code_cache % MiB != 0))
    return fail(fmt::format("code cache of {} bytes", code_cache), "it must be whole MiB, from 1 MiB to 1 GiB");
  if (!direct.empty() && direct != "auto" && direct != "off" && direct != "always")
    return fail(fmt::format("direct execution '{}'", direct), "it is auto, off or always");
  if (count_blocks && log.empty()) return fail("count_blocks", "nothing would show the counts", "name a file for the engine's log");
  return check_path("log", log);
}

nlohmann::ordered_json to_json(const SoftEngineConfig& config) {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  if (config.code_cache) out["code_cache"] = config.code_cache;
  if (!config.direct.empty()) out["direct"] = config.direct;
  if (!config.log.empty()) out["log"] = config.log;
  if (config.count_blocks) out["count_blocks"] = true;
  if (config.perf_map) out["perf_map"] = true;
  return out;
}

Result<SoftEngineConfig> soft_engine_from(const nlohmann::json& value) {
  if (!value.is_object()) return fail("soft", "it must be an object");
  Fields fields(value, "soft");
  SoftEngineConfig out;
  fields.number("code_cache", out.code_cache);
  fields.text("direct", out.direct);
  fields.text("log", out.log);
  fields.flag("count_blocks", out.count_blocks);
  fields.flag("perf_map", out.perf_map);
  TRY(fields.finish());
  return out;
}

}  // namespace nagaya::proto
