#include "domain/container_move.hpp"

#include <nlohmann/json.hpp>

#include "net/ip.hpp"

namespace nagaya::domain {
namespace {

constexpr int version = 1;
constexpr std::size_t most_layers = 512;

std::string boot_id() {
  const auto bytes = host::read_file("/proc/sys/kernel/random/boot_id", 64);
  return bytes ? std::string(bytes->begin(), bytes->end()) : std::string();
}

}  // namespace

std::string write_arrival(const Arrival& arrival) {
  return nlohmann::json{{"version", version}, {"boot", boot_id()}, {"address", arrival.address}, {"connections", arrival.connections}, {"layers", arrival.layers},
                        {"definition", arrival.definition.to_json()}}
      .dump();
}

Result<Arrival> read_arrival(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto bad = [](const char* why) { return fail("the stream is no container that was saved or moves", why); };
  if (!json.is_object() || !json.contains("version") || !json.contains("definition") || !json["definition"].is_string()) return bad("its head is malformed");
  if (json["version"] != version) return bad("another version of Nagaya wrote it");
  Arrival out;
  for (const auto& layer : json.value("layers", nlohmann::json::array())) {
    if (!layer.is_string() || out.layers.size() >= most_layers) return bad("its image's layers are malformed");
    out.layers.push_back(layer.get<std::string>());
  }
  if (json.contains("address")) {
    if (!json["address"].is_string()) return bad("its address is malformed");
    out.address = json["address"].get<std::string>();
    if (!out.address.empty() && !net::Ip4::parse(std::string_view(out.address).substr(0, out.address.find('/')))) return bad("its address is malformed");
  }
  if (json.contains("connections")) {
    if (!json["connections"].is_boolean()) return bad("it does not say whether its connections come");
    out.connections = json["connections"].get<bool>();
  }
  TRY_ASSIGN(out.definition, ContainerDefinition::from_json(json["definition"].get<std::string>()));
  if (json.contains("boot") && json["boot"] == boot_id()) out.definition.id.clear();
  TRY(out.definition.validate());
  return out;
}

std::vector<std::string> moved_folders(const Container& container) { return {container.places.upper(), container.places.volumes()}; }

}  // namespace nagaya::domain
