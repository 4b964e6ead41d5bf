#include "container/record.hpp"
#include "container/spec/names.hpp"

#include <nlohmann/json.hpp>

namespace nagaya::container {
namespace {

using Json = nlohmann::json;

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string text_of(const Json& json, const char* key) {
  const auto at = json.find(key);
  return at != json.end() && at->is_string() ? at->get_ref<const std::string&>() : std::string();
}

template <class T>
T number_of(const Json& json, const char* key) {
  const auto at = json.find(key);
  return at != json.end() && at->is_number() ? at->get<T>() : T{};
}

bool flag_of(const Json& json, const char* key) {
  const auto at = json.find(key);
  return at != json.end() && at->is_boolean() && at->get<bool>();
}

Json object_of(const Map& map) {
  Json json = Json::object();
  for (const auto& [name, value] : map) json[name] = value;
  return json;
}

}  // namespace

std::string write_record(const Record& record) {
  Json json;
  json["phase"] = record.phase == Record::Phase::created ? "created" : "creating";
  json["id"] = record.id;
  json["pid"] = record.process.pid;
  json["start"] = record.process.start;
  json["bundle"] = record.bundle;
  json["rootfs"] = record.rootfs;
  json["created"] = record.created;
  json["owner"] = record.owner;
  json["annotations"] = object_of(record.annotations);
  json["cgroup"] = {{"path", record.cgroup.path},
                    {"systemd", record.cgroup.manager == cgroup::Manager::systemd},
                    {"optional", record.cgroup.optional},
                    {"saved", record.cgroup_saved}};
  Json& namespaces = json["namespaces"] = Json::array();
  for (const NamespaceKind kind : record.namespaces) namespaces.push_back(namespace_name(kind));
  json["terminal"] = record.terminal;
  return dump(json);
}

Result<Record> parse_record(std::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return fail("the container's state.json is damaged");
  Record record;
  record.phase = text_of(json, "phase") == "created" ? Record::Phase::created : Record::Phase::creating;
  record.id = text_of(json, "id");
  record.process = {number_of<pid_t>(json, "pid"), number_of<u64>(json, "start")};
  record.bundle = text_of(json, "bundle");
  record.rootfs = text_of(json, "rootfs");
  record.created = text_of(json, "created");
  record.owner = text_of(json, "owner");
  if (const auto at = json.find("annotations"); at != json.end() && at->is_object()) {
    for (const auto& [name, value] : at->items()) {
      if (value.is_string()) record.annotations.emplace_back(name, value.get_ref<const std::string&>());
    }
  }
  if (const auto at = json.find("cgroup"); at != json.end() && at->is_object()) {
    record.cgroup.path = text_of(*at, "path");
    record.cgroup.manager = flag_of(*at, "systemd") ? cgroup::Manager::systemd : cgroup::Manager::files;
    record.cgroup.optional = flag_of(*at, "optional");
    record.cgroup_saved = text_of(*at, "saved");
  }
  if (const auto at = json.find("namespaces"); at != json.end() && at->is_array()) {
    for (const Json& item : *at) {
      const auto kind = item.is_string() ? namespace_kind(item.get_ref<const std::string&>()) : std::nullopt;
      if (kind) record.namespaces.push_back(*kind);
    }
  }
  record.terminal = flag_of(json, "terminal");
  return record;
}

std::string state_json(const Record& record, Status status, pid_t pid) {
  Json json;
  json["ociVersion"] = "1.1.0";
  json["id"] = record.id;
  json["status"] = std::string(status_name(status));
  if (pid > 0 || status == Status::stopped) json["pid"] = pid;
  json["bundle"] = record.bundle;
  if (!record.annotations.empty()) json["annotations"] = object_of(record.annotations);
  return dump(json);
}

}  // namespace nagaya::container
