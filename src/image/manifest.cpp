#include "image/manifest.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "image/digest.hpp"
#include "proto/json_fields.hpp"

namespace nagaya::image {
namespace {

using nlohmann::ordered_json;
using proto::Fields;

constexpr std::array kinds{std::pair{Kind::disk, "disk"}, std::pair{Kind::oci, "oci"}, std::pair{Kind::kernel, "kernel"}};
constexpr u64 version = 1;

ordered_json oci_json(const OciConfig& oci) {
  ordered_json out = {{"entrypoint", oci.entrypoint}, {"cmd", oci.cmd},         {"env", oci.env},
          {"workdir", oci.workdir},       {"user", oci.user},       {"stop_signal", oci.stop_signal},
          {"volumes", oci.volumes},       {"exposed_ports", oci.exposed_ports}, {"labels", oci.labels}};
  if (!oci.health.test.empty()) {
    const HealthCheck& h = oci.health;
    out["health"] = {{"test", h.test}, {"interval_ms", h.interval_ms}, {"timeout_ms", h.timeout_ms}, {"start_period_ms", h.start_period_ms}, {"retries", h.retries}};
  }
  return out;
}

Result<> take_oci(const nlohmann::json& object, const std::string& what, OciConfig& oci) {
  if (!object.is_object()) return fail(what, "'oci' is not an object");
  Fields fields(object, what + ": oci");
  fields.texts("entrypoint", oci.entrypoint);
  fields.texts("cmd", oci.cmd);
  fields.texts("env", oci.env);
  fields.text("workdir", oci.workdir);
  fields.text("user", oci.user);
  fields.text("stop_signal", oci.stop_signal);
  fields.texts("volumes", oci.volumes);
  fields.texts("exposed_ports", oci.exposed_ports);
  if (const auto* labels = fields.take("labels")) {
    for (const auto& [key, value] : labels->items()) {
      if (!value.is_string()) return fail(what, "a label is no string");
      oci.labels[key] = value.get<std::string>();
    }
  }
  if (const auto* health = fields.take("health")) {
    if (!health->is_object()) return fail(what, "'health' is not an object");
    Fields inner(*health, what + ": health");
    inner.texts("test", oci.health.test);
    inner.number("interval_ms", oci.health.interval_ms);
    inner.number("timeout_ms", oci.health.timeout_ms);
    inner.number("start_period_ms", oci.health.start_period_ms);
    inner.number("retries", oci.health.retries);
    TRY(inner.finish());
  }
  return fields.finish();
}

Result<Blob> blob_of(const nlohmann::json& value, const std::string& what, const std::string& role) {
  if (!value.is_object()) return fail(what, "a file is not an object");
  Blob blob;
  Fields fields(value, what + ": " + role);
  fields.text("sha256", blob.sha256);
  fields.number("size", blob.size);
  TRY(fields.finish());
  if (!is_sha256(blob.sha256)) return fail(what, fmt::format("the hash of '{}' is none", role));
  return blob;
}

Result<> take_layers(const nlohmann::json& list, const std::string& what, std::vector<Blob>& layers) {
  if (!list.is_array()) return fail(what, "'layers' is not a list");
  for (const auto& value : list) {
    TRY_ASSIGN(Blob blob, blob_of(value, what, "layers"));
    layers.push_back(std::move(blob));
  }
  return {};
}

Result<> take_blobs(const nlohmann::json& object, const std::string& what, std::map<std::string, Blob>& blobs) {
  if (!object.is_object()) return fail(what, "'blobs' is not an object");
  for (const auto& [role, value] : object.items()) {
    if (role != "disk" && role != "kernel" && role != "initrd") return fail(what, fmt::format("unknown file '{}'", role));
    TRY_ASSIGN(blobs[role], blob_of(value, what, role));
  }
  return {};
}

}  // namespace

std::string_view kind_name(Kind kind) {
  return std::ranges::find(kinds, kind, [](const auto& k) { return k.first; })->second;
}

std::string Manifest::to_json() const {
  ordered_json out{{"version", version}, {"kind", kind_name(kind)}, {"created", created}, {"source", source}};
  if (disk_size != 0) {
    out["disk_size"] = disk_size;
    out["disk_format"] = disk_format;
  }
  if (!append.empty()) out["append"] = append;
  ordered_json files = ordered_json::object();
  for (const auto& [role, blob] : blobs) files[role] = {{"sha256", blob.sha256}, {"size", blob.size}};
  out["blobs"] = std::move(files);
  if (!layers.empty()) {
    for (const Blob& layer : layers) out["layers"].push_back({{"sha256", layer.sha256}, {"size", layer.size}});
  }
  if (kind == Kind::oci) out["oci"] = oci_json(oci);
  return proto::print(out, 2) + "\n";
}

Result<Manifest> Manifest::from_json(std::string_view text, const std::string& what) {
  TRY_ASSIGN(const nlohmann::json object, proto::parse_object(text, what));
  Manifest out;
  Fields fields(object, what);
  u64 its_version = 0;
  std::string kind;
  fields.number("version", its_version);
  fields.text("kind", kind);
  fields.number("created", out.created);
  fields.text("source", out.source);
  fields.number("disk_size", out.disk_size);
  fields.text("disk_format", out.disk_format);
  fields.text("append", out.append);
  const auto* blobs = fields.take("blobs");
  const auto* oci = fields.take("oci");
  const auto* layers = fields.take("layers");
  TRY(fields.finish());
  if (its_version != version) return fail(what, fmt::format("version {} is not known", its_version), "it was made by another Nagaya");
  const auto known = std::ranges::find(kinds, kind, [](const auto& k) { return std::string_view(k.second); });
  if (known == kinds.end()) return fail(what, fmt::format("unknown kind '{}'", kind.substr(0, 100)));
  out.kind = known->first;
  if (blobs == nullptr) return fail(what, "it names no files");
  TRY(take_blobs(*blobs, what, out.blobs));
  if (layers != nullptr) TRY(take_layers(*layers, what, out.layers));
  if ((out.kind == Kind::oci) != (oci != nullptr)) return fail(what, "'oci' belongs to images of that kind");
  if (oci != nullptr) TRY(take_oci(*oci, what, out.oci));
  const bool disk = out.blobs.contains("disk");
  // An image of layers gets its disk when the first machine wants one.
  const bool needs_disk = out.kind == Kind::disk || (out.kind == Kind::oci && out.layers.empty());
  if ((needs_disk && !disk) || (disk && out.kind == Kind::kernel) || disk != (out.disk_size != 0)) return fail(what, "disk and kind do not agree");
  if (disk && out.disk_format != "qcow2" && out.disk_format != "raw") return fail(what, "the disk's format is neither raw nor qcow2");
  if (out.kind != Kind::oci && !out.blobs.contains("kernel")) return fail(what, "it has no kernel");
  return out;
}

}  // namespace nagaya::image
