#include "api/local/machine_view.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <cmath>

#include "api/local/limits_view.hpp"
#include "api/text.hpp"
#include "domain/machine_control.hpp"
#include "domain/machine_stats.hpp"
#include "net/port_spec.hpp"

namespace nagaya::api {
namespace {

std::string notes_path(const domain::Machine& machine) { return machine.places.folder + "/api.json"; }

std::string small_file(const std::string& path) {
  const auto bytes = host::read_file(path, 64 * KiB);
  return bytes ? std::string(bytes->begin(), bytes->end()) : std::string();
}

std::unexpected<Error> unsupported(const char* field) {
  return std::unexpected(Error{fmt::format("{} is for containers", field), "this is a virtual machine", {}, EOPNOTSUPP});
}

Json machine_limits(const domain::MachineSpec& spec) {
  Json out = limits_json(spec.limits);
  out["memory"] = spec.memory;
  if (spec.limits.cpu_thousandths == 0) out["cpus"] = spec.vcpus;
  return out;
}

}  // namespace

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
  domain::MachineSpec out{.name = d.at("name"), .image = std::move(image), .image_name = d.at("image"), .created = now_text()};
  for (const char* field : {"system", "readOnly", "privileged"}) {
    if (d.value(field, false)) return unsupported(field);
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
  out.engine = d.value("engine", "auto");
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

Json machine_definition(const domain::Machine& machine, const MachineNotes& notes) {
  const domain::MachineSpec& s = machine.spec;
  Json out = {{"name", s.name}, {"kind", "vm"}, {"image", s.image_name}, {"project", notes.project}, {"engine", s.engine}};
  out["limits"] = machine_limits(s);
  if (!notes.labels.empty()) out["labels"] = notes.labels;
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
  if (s.disk_size != 0) out["diskSize"] = s.disk_size;
  Json volumes = Json::array();
  for (const domain::MachineShare& share : s.shares) volumes.push_back(fmt::format("{}:{}{}", share.host, share.guest, share.read_only ? ":ro" : ""));
  if (!volumes.empty()) out["volumes"] = volumes;
  return out;
}

Json machine_summary(const domain::MachineStore& store, const domain::Machine& machine) {
  const MachineNotes notes = MachineNotes::read(machine);
  const domain::MachineSpec& s = machine.spec;
  Json out = {{"name", s.name}, {"kind", "vm"}, {"image", s.image_name}, {"project", notes.project}, {"created", s.created}, {"state", "stopped"}};
  out["limits"] = machine_limits(s);
  if (!notes.labels.empty()) out["labels"] = notes.labels;
  Json ports = Json::array();
  for (const std::string& text : s.publish) {
    const auto parsed = net::parse_port_spec(text);
    if (!parsed) continue;
    for (const net::PortSpec& port : *parsed) {
      ports.push_back({{"address", port.address.text()}, {"host", port.host}, {"guest", port.guest}, {"protocol", port.udp ? "udp" : "tcp"}});
    }
  }
  if (!ports.empty()) out["ports"] = ports;
  struct stat when {};
  if (!store.running(machine)) {
    if (::stat(machine.places.console_log().c_str(), &when) == 0) {
      out["finished"] = time_text(when.st_mtime);
    } else {
      out["state"] = "created";
    }
    return out;
  }
  out["state"] = "running";
  if (::stat(machine.places.pid().c_str(), &when) == 0) out["started"] = time_text(when.st_mtime);
  // One that does not answer runs all the same; a list must not wait for it.
  if (const auto answer = domain::command_machine(machine, {}, 200)) {
    out["engine"] = answer->engine;
    if (answer->status == "paused") out["state"] = "paused";
    if (!answer->reason.empty()) out["reason"] = answer->reason;
  }
  return out;
}

Result<Json> machine_stats(const domain::MachineStore& store, const domain::Machine& machine) {
  TRY_ASSIGN(const cgroup::Stats now, domain::machine_stats(store, machine));
  return Json{{"time", now_text()},
              {"cpuNs", now.cpu_ns},
              {"memory", now.memory},
              {"memoryLimit", now.memory_limit},
              {"pids", now.pids},
              {"readBytes", now.disks[0].read_bytes},
              {"writeBytes", now.disks[0].write_bytes}};
}

}  // namespace nagaya::api
