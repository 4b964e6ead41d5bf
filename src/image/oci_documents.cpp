// The half of oci.hpp that reads JSON.
#include <fmt/core.h>

#include <algorithm>

#include "image/digest.hpp"
#include "image/oci.hpp"
#include "proto/json_fields.hpp"

namespace nagaya::image {
namespace {

using nlohmann::json;

constexpr std::size_t most_layers = 500, most_entries = 1000, most_words = 10'000;

std::unexpected<Error> bad(const std::string& what, std::string why) { return fail(what, std::move(why), "the image is damaged or hostile"); }

/// A member that may be missing or null, of that type when it is there.
Result<const json*> member(const json& object, const char* key, json::value_t type, const std::string& what) {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return nullptr;
  const bool fits = it->type() == type || (type == json::value_t::number_unsigned && it->is_number_unsigned());
  if (!fits) return bad(what, fmt::format("'{}' has the wrong type", key));
  return &*it;
}

Result<> take_text(const json& object, const char* key, std::string& out, const std::string& what) {
  TRY_ASSIGN(const json* value, member(object, key, json::value_t::string, what));
  if (value == nullptr) return {};
  out = value->get<std::string>();
  if (out.find('\0') != std::string::npos) return bad(what, fmt::format("'{}' has a zero byte in it", key));
  return {};
}

Result<> take_texts(const json& object, const char* key, std::vector<std::string>& out, const std::string& what) {
  TRY_ASSIGN(const json* value, member(object, key, json::value_t::array, what));
  if (value == nullptr) return {};
  if (value->size() > most_words) return bad(what, fmt::format("'{}' is too long", key));
  for (const json& item : *value) {
    if (!item.is_string() || item.get<std::string>().find('\0') != std::string::npos) return bad(what, fmt::format("'{}' has the wrong type", key));
    out.push_back(item.get<std::string>());
  }
  return {};
}

/// Names of an object's members: {"/data": {}}.
Result<> take_keys(const json& object, const char* key, std::vector<std::string>& out, const std::string& what) {
  TRY_ASSIGN(const json* value, member(object, key, json::value_t::object, what));
  if (value == nullptr) return {};
  if (value->size() > most_words) return bad(what, fmt::format("'{}' is too long", key));
  for (const auto& [name, ignored] : value->items()) out.push_back(name);
  return {};
}

/// Docker's image specification 1.2 ("Healthcheck"); times in nanoseconds, 0: not said.
Result<> take_health(const json& config, HealthCheck& out, const std::string& what) {
  TRY_ASSIGN(const json* health, member(config, "Healthcheck", json::value_t::object, what));
  if (health == nullptr) return {};
  TRY(take_texts(*health, "Test", out.test, what));
  for (const auto& [key, value] : {std::pair{"Interval", &out.interval_ms}, {"Timeout", &out.timeout_ms}, {"StartPeriod", &out.start_period_ms}}) {
    constexpr u64 ns_per_ms = 1'000'000;
    TRY_ASSIGN(const json* number, member(*health, key, json::value_t::number_unsigned, what));
    if (number != nullptr) *value = number->get<u64>() / ns_per_ms;
  }
  TRY_ASSIGN(const json* retries, member(*health, "Retries", json::value_t::number_unsigned, what));
  if (retries != nullptr) out.retries = retries->get<u64>();
  return {};
}

Result<OciDescriptor> descriptor(const json& object, const std::string& what) {
  if (!object.is_object()) return bad(what, "a descriptor is no object");
  OciDescriptor out;
  std::string digest;
  TRY(take_text(object, "mediaType", out.media_type, what));
  TRY(take_text(object, "digest", digest, what));
  if (!digest.starts_with("sha256:") || !is_sha256(digest.substr(7))) return bad(what, fmt::format("digest '{}' is no SHA-256", digest.substr(0, 100)));
  out.sha256 = digest.substr(7);
  TRY_ASSIGN(const json* size, member(object, "size", json::value_t::number_unsigned, what));
  if (size == nullptr) return bad(what, "a descriptor without size");
  out.size = size->get<u64>();
  TRY_ASSIGN(const json* platform, member(object, "platform", json::value_t::object, what));
  if (platform != nullptr) {
    TRY(take_text(*platform, "architecture", out.architecture, what));
    TRY(take_text(*platform, "os", out.os, what));
  }
  TRY_ASSIGN(const json* annotations, member(object, "annotations", json::value_t::object, what));
  if (annotations != nullptr) TRY(take_text(*annotations, "org.opencontainers.image.ref.name", out.ref_name, what));
  return out;
}

Result<json> document(std::string_view text, const std::string& what) {
  TRY_ASSIGN(json object, proto::parse_object(text, what));
  return object;
}

}  // namespace

Result<std::vector<OciDescriptor>> parse_oci_index(std::string_view text) {
  const std::string what = "the image's index";
  TRY_ASSIGN(const json object, document(text, what));
  TRY_ASSIGN(const json* list, member(object, "manifests", json::value_t::array, what));
  if (list == nullptr || list->empty()) return bad(what, "it names no manifests");
  if (list->size() > most_entries) return bad(what, "it names too many manifests");
  std::vector<OciDescriptor> out;
  for (const json& item : *list) {
    TRY_ASSIGN(OciDescriptor one, descriptor(item, what));
    out.push_back(std::move(one));
  }
  return out;
}

Result<OciManifest> parse_oci_manifest(std::string_view text) {
  const std::string what = "the image's manifest";
  TRY_ASSIGN(const json object, document(text, what));
  OciManifest out;
  TRY_ASSIGN(const json* config, member(object, "config", json::value_t::object, what));
  TRY_ASSIGN(const json* layers, member(object, "layers", json::value_t::array, what));
  if (config == nullptr || layers == nullptr) return bad(what, "it has no config or no layers");
  TRY_ASSIGN(out.config, descriptor(*config, what));
  if (layers->size() > most_layers) return bad(what, fmt::format("more than {} layers", most_layers));
  for (const json& item : *layers) {
    TRY_ASSIGN(OciDescriptor layer, descriptor(item, what));
    static constexpr std::string_view known[] = {
        "application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd"};
    if (std::ranges::find(known, layer.media_type) == std::end(known)) {
      return fail(what, fmt::format("a layer of type '{}'", layer.media_type.substr(0, 100)), "tar, plain or packed by gzip or zstd, is known");
    }
    out.layers.push_back(std::move(layer));
  }
  return out;
}

Result<OciConfig> parse_oci_config(std::string_view text) {
  const std::string what = "the image's configuration";
  TRY_ASSIGN(const json object, document(text, what));
  std::string architecture, os;
  TRY(take_text(object, "architecture", architecture, what));
  TRY(take_text(object, "os", os, what));
  if (architecture != "amd64" || os != "linux") {
    return fail(what, fmt::format("it is for {} on {}", os.empty() ? "?" : os.substr(0, 40), architecture.empty() ? "?" : architecture.substr(0, 40)),
                "images for linux on amd64 can be run");
  }
  OciConfig out;
  TRY_ASSIGN(const json* config, member(object, "config", json::value_t::object, what));
  if (config == nullptr) return out;
  TRY(take_texts(*config, "Entrypoint", out.entrypoint, what));
  TRY(take_texts(*config, "Cmd", out.cmd, what));
  TRY(take_texts(*config, "Env", out.env, what));
  TRY(take_text(*config, "WorkingDir", out.workdir, what));
  TRY(take_text(*config, "User", out.user, what));
  TRY(take_text(*config, "StopSignal", out.stop_signal, what));
  TRY(take_keys(*config, "Volumes", out.volumes, what));
  TRY(take_keys(*config, "ExposedPorts", out.exposed_ports, what));
  TRY(take_health(*config, out.health, what));
  TRY_ASSIGN(const json* labels, member(*config, "Labels", json::value_t::object, what));
  if (labels != nullptr) {
    for (const auto& [name, value] : labels->items()) {
      if (!value.is_string()) return bad(what, "a label is no string");
      out.labels[name] = value.get<std::string>();
    }
  }
  // Words without '=' are what some builders write; they set nothing.
  std::erase_if(out.env, [](const std::string& one) { return one.find('=') == std::string::npos || one[0] == '='; });
  return out;
}

}  // namespace nagaya::image
