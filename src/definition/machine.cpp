#include "definition/machine.hpp"

#include <fmt/format.h>

#include <cctype>
#include <cerrno>
#include <cmath>

#include "definition/container.hpp"
#include "definition/limits.hpp"
#include "domain/machine_make.hpp"
#include "host/fd.hpp"
#include "proto/json_fields.hpp"
#include "proto/text.hpp"

namespace nagaya::definition {
namespace {

constexpr const char* container_fields[] = {"health", "terminal", "interactive", "system", "remove", "stopSignal", "stopTimeout", "readOnly", "privileged", "shmSize",
                                            "ulimits",   "sysctls",       "capAdd",   "capDrop",     "security", "storageDriver", "userns", "pid", "ipc", "uts", "cgroupns",
                                            "devices",   "tmpfs",         "publishAll", "dns",       "addHosts"};

std::string camel(const std::string& key) {
  if (key == "readonly") return "readOnly";
  std::string out;
  for (const char c : key) {
    if (!out.empty() && out.back() == '_') {
      out.back() = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    } else {
      out += c;
    }
  }
  return out;
}

std::string snake(const std::string& key) {
  if (key == "readOnly") return "readonly";
  std::string out;
  for (const char c : key) {
    if (std::isupper(static_cast<unsigned char>(c)) != 0) {
      out += '_';
      out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else {
      out += c;
    }
  }
  return out;
}

/// The value with other spellings of all keys.
Json spelled(const Json& value, std::string (*as)(const std::string&)) {
  Json out = value;
  if (value.is_object()) {
    out = Json::object();
    for (const auto& [key, inner] : value.items()) out[as(key)] = spelled(inner, as);
  } else if (value.is_array()) {
    for (Json& inner : out) inner = spelled(inner, as);
  }
  return out;
}

std::string notes_path(const domain::Machine& machine) { return machine.places.folder + "/api.json"; }

std::string small_file(const std::string& path) {
  const auto bytes = host::read_file(path, 64 * KiB);
  return bytes ? std::string(bytes->begin(), bytes->end()) : std::string();
}

std::unexpected<Error> unsupported(const char* field) {
  return std::unexpected(Error{fmt::format("{} is for containers", field), "this is a virtual machine", {}, EOPNOTSUPP});
}

}  // namespace

Json machine_limits(const domain::MachineSpec& spec) {
  Json out = limits_json(spec.limits);
  out["memory"] = spec.memory;
  if (spec.limits.cpu_thousandths == 0) out["cpus"] = spec.vcpus;
  return out;
}

MachineNotes MachineNotes::read(const domain::Machine& machine) {
  MachineNotes out;
  const Json file = Json::parse(small_file(notes_path(machine)), nullptr, false);
  if (!file.is_object()) return out;
  if (file.contains("project") && file["project"].is_string()) out.project = file["project"];
  if (file.contains("labels") && file["labels"].is_object()) out.labels = file["labels"];
  return out;
}

Result<> MachineNotes::write(const domain::Machine& machine) const {
  const std::string text = Json{{"project", project}, {"labels", labels}}.dump(2) + "\n";
  return host::replace_file(notes_path(machine), {reinterpret_cast<const u8*>(text.data()), text.size()});
}

Result<> limit_machine(domain::MachineSpec& spec, const Json& limits) {
  if (const u64 memory = limits.value("memory", u64{0}); memory != 0) spec.memory = memory / MiB * MiB;
  if (const double cpus = limits.value("cpus", 0.0); cpus > 0) {
    spec.vcpus = static_cast<unsigned>(std::ceil(cpus));
    spec.limits.cpu_thousandths = cpus == std::ceil(cpus) ? 0 : static_cast<u64>(std::llround(cpus * 1000));
  }
  // Those two are the machine's own: the process around it gets what it needs.
  Json others = limits;
  others.erase("memory");
  others.erase("cpus");
  TRY_ASSIGN(spec.limits, limits_of(others, spec.limits));
  return {};
}

Result<domain::MachineSpec> machine_spec_of(const Json& d, std::string image) {
  domain::MachineSpec out{.name = d.at("name"), .image = std::move(image), .image_name = d.at("image"), .created = proto::now_text()};
  for (const char* field : container_fields) {
    if (d.contains(field) && d[field] != false) return unsupported(field);
  }
  TRY(limit_machine(out, d.value("limits", Json::object())));
  out.command = d.value("command", std::vector<std::string>{});
  if (d.contains("entrypoint")) {
    const auto words = d["entrypoint"].get<std::vector<std::string>>();
    if (words.size() > 1) return std::unexpected(Error{"entrypoint", "a machine's has one word", "put the others before the command", EOPNOTSUPP});
    out.entrypoint = words.empty() ? "" : words[0];
  }
  out.env = d.value("env", std::vector<std::string>{});
  out.workdir = d.value("workdir", "");
  out.user = d.value("user", "");
  out.hostname = d.value("hostname", "");
  out.networks = d.value("networks", std::vector<std::string>{});
  out.publish = d.value("publish", std::vector<std::string>{});
  for (const std::string& text : d.value("volumes", std::vector<std::string>{})) {
    TRY_ASSIGN(domain::MachineShare share, domain::parse_share(text));
    out.shares.push_back(std::move(share));
  }
  out.engine = d.value("engine", out.engine);
  out.cpu = d.value("cpu", out.cpu);
  if (d.contains("numaNode")) out.numa_node = d["numaNode"].get<unsigned>();
  if (d.contains("hardware")) {
    // The machine's own file has the same words, spelled its way.
    const Json hardware = spelled(d["hardware"], snake);
    proto::Fields fields(hardware, "hardware");
    auto taken = proto::take_devices(fields, out.devices);
    if (taken) taken = fields.finish();
    if (!taken) {
      taken.error().code = EINVAL;
      return std::unexpected(std::move(taken.error()));
    }
  }
  out.disk_size = d.value("diskSize", u64{0});
  out.user_data = d.value("userData", "");
  out.append = d.value("append", "");
  out.ssh_keys = d.value("sshKeys", std::vector<std::string>{});
  if (auto ok = out.validate(); !ok) {
    ok.error().code = EINVAL;
    return std::unexpected(std::move(ok.error()));
  }
  return out;
}

Result<domain::MachinePolicy> machine_policy_of(const Json& document, domain::MachinePolicy now) {
  if (document.contains("restart")) {
    TRY_ASSIGN(now.restart, restart_of(document["restart"]));
  }
  now.autostart = document.value("autostart", now.autostart);
  return now;
}

Result<> create_machine(const domain::MachineStore& store, const Json& document, const image::Image& image) {
  TRY_ASSIGN(domain::MachineSpec spec, machine_spec_of(document, image.id));
  TRY_ASSIGN(const domain::MachinePolicy policy, machine_policy_of(document));
  const MachineNotes notes{.project = document.value("project", "default"), .labels = document.value("labels", Json::object())};
  TRY(domain::make_machine(store, image, std::move(spec), [&](const domain::Machine& made) -> Result<> {
    TRY(notes.write(made));
    return policy == domain::MachinePolicy{} ? Result<>() : policy.write(made);
  }));
  return {};
}

Json machine_document(const domain::MachineSpec& s, const MachineNotes& notes, const domain::MachinePolicy& policy) {
  Json out = {{"name", s.name}, {"kind", "vm"}, {"image", s.image_name}, {"project", notes.project}, {"engine", s.engine}};
  out["limits"] = machine_limits(s);
  if (!notes.labels.empty()) out["labels"] = notes.labels;
  if (Json restart = restart_json(policy.restart); !restart.is_null()) out["restart"] = std::move(restart);
  if (policy.autostart) out["autostart"] = true;
  const auto list = [&](const char* name, const std::vector<std::string>& values) {
    if (!values.empty()) out[name] = values;
  };
  const auto text = [&](const char* name, const std::string& value) {
    if (!value.empty()) out[name] = value;
  };
  list("command", s.command);
  list("env", s.env);
  list("networks", s.networks);
  list("publish", s.publish);
  list("sshKeys", s.ssh_keys);
  text("workdir", s.workdir);
  text("user", s.user);
  text("hostname", s.hostname);
  text("userData", s.user_data);
  text("append", s.append);
  if (s.entrypoint) out["entrypoint"] = s.entrypoint->empty() ? Json::array() : Json::array({*s.entrypoint});
  if (s.cpu != domain::MachineSpec{}.cpu) out["cpu"] = s.cpu;
  if (s.numa_node) out["numaNode"] = *s.numa_node;
  auto devices = nlohmann::ordered_json::object();
  proto::put_devices(devices, s.devices);
  Json hardware = Json::object();
  const Json spelled_out = spelled(Json(devices), camel);
  for (const auto& [key, value] : spelled_out.items()) {
    if (value != false && value != Json::array()) hardware[key] = value;
  }
  if (!hardware.empty()) out["hardware"] = std::move(hardware);
  if (s.disk_size != 0) out["diskSize"] = s.disk_size;
  Json volumes = Json::array();
  for (const domain::MachineShare& share : s.shares) volumes.push_back(fmt::format("{}:{}{}", share.host, share.guest, share.read_only ? ":ro" : ""));
  if (!volumes.empty()) out["volumes"] = volumes;
  return out;
}

}  // namespace nagaya::definition
