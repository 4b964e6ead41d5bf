#include "definition/container.hpp"

#include <fmt/format.h>

#include <cerrno>

#include "definition/limits.hpp"
#include "domain/container_image.hpp"
#include "domain/container_join.hpp"
#include "image/store.hpp"

namespace nagaya::definition {
namespace {

using D = domain::ContainerDefinition;
// What is the same in a definition and in the container's own file, by its name here.
constexpr std::pair<const char*, std::string D::*> texts[] = {
    {"workdir", &D::workdir}, {"user", &D::user}, {"hostname", &D::hostname}, {"stopSignal", &D::stop_signal}, {"storageDriver", &D::storage_driver},
    {"userns", &D::userns},   {"pid", &D::pid},   {"ipc", &D::ipc},           {"uts", &D::uts},                {"cgroupns", &D::cgroupns}};
constexpr std::pair<const char*, std::vector<std::string> D::*> lists[] = {
    {"command", &D::command}, {"env", &D::env},          {"networks", &D::networks}, {"publish", &D::publish}, {"ulimits", &D::ulimits}, {"sysctls", &D::sysctls},
    {"capAdd", &D::cap_add},  {"capDrop", &D::cap_drop}, {"security", &D::security}, {"devices", &D::devices}, {"tmpfs", &D::tmpfs},     {"dns", &D::dns},
    {"addHosts", &D::add_hosts}};
constexpr std::pair<const char*, bool D::*> flags[] = {{"terminal", &D::terminal},     {"system", &D::system},       {"readOnly", &D::read_only}, {"privileged", &D::privileged},
                                                       {"autostart", &D::autostart}, {"publishAll", &D::publish_all}, {"remove", &D::remove}};

std::unexpected<Error> invalid(Error error) {
  error.code = EINVAL;
  return std::unexpected(std::move(error));
}

std::string volume_text(const domain::ContainerVolume& volume) {
  std::string options = volume.read_only ? "ro" : "";
  for (const std::string& one : volume.options) options += (options.empty() ? "" : ",") + one;
  if (volume.source.empty()) return volume.target;
  return fmt::format("{}:{}{}{}", volume.source, volume.target, options.empty() ? "" : ":", options);
}

}  // namespace

std::string project_of(const domain::ContainerDefinition& d) {
  const auto found = d.labels.find(project_label);
  return found == d.labels.end() ? "default" : found->second;
}

Result<domain::RestartPolicy> restart_of(const Json& restart) {
  std::string text = restart.at("policy");
  if (const u64 retries = restart.value("retries", u64{0}); retries != 0) {
    if (text != "on-failure") return invalid({"restart.retries", "only on-failure takes it"});
    text += fmt::format(":{}", retries);
  }
  auto parsed = domain::RestartPolicy::parse(text);
  if (!parsed) return invalid(std::move(parsed.error()));
  return parsed;
}

Result<domain::ContainerDefinition> container_definition_of(const Json& d, std::string image) {
  for (const char* field : {"engine", "cpu", "numaNode", "diskSize", "userData", "append", "sshKeys", "hardware"}) {
    if (d.contains(field)) return std::unexpected(Error{fmt::format("{} is for virtual machines", field), "this is a container", {}, EOPNOTSUPP});
  }
  domain::ContainerDefinition out{.name = d.at("name"), .image = std::move(image), .image_name = d.at("image")};
  // Named: items() refers to it, and a temporary would be gone before the first one.
  const Json labels = d.value("labels", Json::object());
  for (const auto& [key, value] : labels.items()) {
    if (key == project_label) return invalid({fmt::format("labels.{}", key), "that label is the project's", "say it by 'project'"});
    out.labels[key] = value;
  }
  if (const std::string project = d.value("project", "default"); project != "default") out.labels[project_label] = project;
  if (d.contains("entrypoint")) out.entrypoint = d["entrypoint"].get<std::vector<std::string>>();
  for (const auto& [name, field] : texts) out.*field = d.value(name, std::string());
  for (const auto& [name, field] : lists) out.*field = d.value(name, std::vector<std::string>{});
  for (const auto& [name, field] : flags) out.*field = d.value(name, false);
  // Someone may come to its console later.
  out.interactive = d.value("interactive", out.terminal);
  out.reaper = d.value("reaper", true);
  out.stop_timeout = d.value("stopTimeout", out.stop_timeout);
  out.shm_size = d.value("shmSize", out.shm_size);
  if (d.contains("restart")) {
    TRY_ASSIGN(out.restart, restart_of(d["restart"]));
  }
  if (d.contains("health")) {
    const Json& health = d["health"];
    out.health = {.test = health.value("test", std::vector<std::string>{}),
                  .interval_ms = health.value("intervalMs", u64{0}),
                  .timeout_ms = health.value("timeoutMs", u64{0}),
                  .start_period_ms = health.value("startPeriodMs", u64{0}),
                  .retries = health.value("retries", u64{0})};
  }
  TRY_ASSIGN(out.limits, limits_of(d.value("limits", Json::object()), {}));
  for (const std::string& text : d.value("volumes", std::vector<std::string>{})) {
    auto volume = domain::parse_volume(text);
    if (!volume) return invalid(std::move(volume.error()));
    out.volumes.push_back(std::move(*volume));
  }
  if (auto ok = out.validate(); !ok) return invalid(std::move(ok.error()));
  return out;
}

namespace {

Result<> complete(const domain::ContainerStore& store, domain::ContainerDefinition& wanted, const image::Image* image) {
  if (image != nullptr) domain::take_image(wanted, *image);
  return domain::joins_others(wanted) ? domain::resolve_joined(store, wanted) : Result<>();
}

}  // namespace

Result<domain::ContainerDefinition> wanted_container(const domain::ContainerStore& store, Json document, const image::Image& image) {
  TRY_ASSIGN(domain::ContainerDefinition wanted, container_definition_of(document, image.id));
  TRY(complete(store, wanted, &image));
  return wanted;
}

Result<domain::ContainerDefinition> wanted_container(const domain::ContainerStore& store, Json document, const domain::ContainerDefinition& now) {
  if (!document.contains("project")) document["project"] = project_of(now);
  TRY_ASSIGN(domain::ContainerDefinition wanted, container_definition_of(document, now.image));
  const auto images = image::Store::open();
  const auto image = images ? images->find(now.image) : std::unexpected(images.error());
  TRY(complete(store, wanted, image ? &*image : nullptr));
  return wanted;
}

Result<> create_container(const domain::ContainerStore& store, const Json& document, const image::Image& image) {
  TRY_ASSIGN(domain::ContainerDefinition wanted, wanted_container(store, document, image));
  TRY(store.create(std::move(wanted), [&](const domain::Container& made) { return domain::adapt_root(made, image); }));
  return {};
}

Json restart_json(const domain::RestartPolicy& policy) {
  const std::string text = policy.text();
  if (text == "no") return nullptr;
  Json out = {{"policy", text.substr(0, text.find(':'))}};
  if (policy.retries != 0) out["retries"] = policy.retries;
  return out;
}

Json own_labels(const domain::ContainerDefinition& d) {
  Json out = Json::object();
  for (const auto& [key, value] : d.labels) {
    if (key != project_label) out[key] = value;
  }
  return out;
}

Json container_document(const domain::ContainerDefinition& d) {
  Json out = {{"name", d.name}, {"kind", "container"}, {"image", d.image_name}, {"project", project_of(d)}};
  if (d.entrypoint) out["entrypoint"] = *d.entrypoint;
  for (const auto& [name, field] : texts) {
    if (!(d.*field).empty()) out[name] = d.*field;
  }
  for (const auto& [name, field] : lists) {
    if (!(d.*field).empty()) out[name] = d.*field;
  }
  for (const auto& [name, field] : flags) {
    if (d.*field) out[name] = true;
  }
  const D usual;
  if (d.interactive != d.terminal) out["interactive"] = d.interactive;
  if (!d.reaper) out["reaper"] = false;
  if (d.stop_timeout != usual.stop_timeout) out["stopTimeout"] = d.stop_timeout;
  if (d.shm_size != usual.shm_size) out["shmSize"] = d.shm_size;
  const image::HealthCheck& health = d.health;
  if (!health.test.empty()) out["health"]["test"] = health.test;
  for (const auto& [name, value] : {std::pair{"intervalMs", health.interval_ms}, {"timeoutMs", health.timeout_ms}, {"startPeriodMs", health.start_period_ms}, {"retries", health.retries}}) {
    if (value != 0) out["health"][name] = value;
  }
  if (Json limits = limits_json(d.limits); !limits.empty()) out["limits"] = std::move(limits);
  if (Json labels = own_labels(d); !labels.empty()) out["labels"] = std::move(labels);
  if (Json restart = restart_json(d.restart); !restart.is_null()) out["restart"] = std::move(restart);
  for (const domain::ContainerVolume& volume : d.volumes) out["volumes"].push_back(volume_text(volume));
  return out;
}

}  // namespace nagaya::definition
