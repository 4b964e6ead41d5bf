#include "api/local/container_view.hpp"

#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "api/local/limits_view.hpp"
#include "api/text.hpp"
#include "net/port_spec.hpp"

namespace nagaya::api {
namespace {

std::unexpected<Error> invalid(Error error) {
  error.code = EINVAL;
  return std::unexpected(std::move(error));
}

std::string small_file(const std::string& path) {
  const auto bytes = host::read_file(path, 64 * KiB);
  return bytes ? std::string(bytes->begin(), bytes->end()) : std::string();
}

std::string volume_text(const domain::ContainerVolume& volume) {
  std::string options = volume.read_only ? "ro" : "";
  for (const std::string& one : volume.options) options += (options.empty() ? "" : ",") + one;
  if (volume.source.empty()) return volume.target;
  return fmt::format("{}:{}{}{}", volume.source, volume.target, options.empty() ? "" : ":", options);
}

Json labels_json(const domain::ContainerDefinition& d) {
  Json out = Json::object();
  for (const auto& [key, value] : d.labels) {
    if (key != project_label) out[key] = value;
  }
  return out;
}

}  // namespace

std::string container_project(const domain::Container& container) {
  const auto found = container.definition.labels.find(project_label);
  return found == container.definition.labels.end() ? "default" : found->second;
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
  for (const char* field : {"engine", "diskSize", "userData", "append", "sshKeys"}) {
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
  out.command = d.value("command", std::vector<std::string>{});
  out.env = d.value("env", std::vector<std::string>{});
  out.workdir = d.value("workdir", "");
  out.user = d.value("user", "");
  out.hostname = d.value("hostname", "");
  out.terminal = d.value("terminal", false);
  // Someone may come to its console later.
  out.interactive = out.terminal;
  out.system = d.value("system", false);
  out.read_only = d.value("readOnly", false);
  out.privileged = d.value("privileged", false);
  out.autostart = d.value("autostart", false);
  out.networks = d.value("networks", std::vector<std::string>{});
  out.publish = d.value("publish", std::vector<std::string>{});
  if (d.contains("restart")) {
    TRY_ASSIGN(out.restart, restart_of(d["restart"]));
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

Json container_definition(const domain::Container& container) {
  const domain::ContainerDefinition& d = container.definition;
  Json out = {{"name", d.name}, {"kind", "container"}, {"image", d.image_name}, {"project", container_project(container)}};
  const auto list = [&](const char* name, const std::vector<std::string>& values) {
    if (!values.empty()) out[name] = values;
  };
  const auto text = [&](const char* name, const std::string& value) {
    if (!value.empty()) out[name] = value;
  };
  const auto flag = [&](const char* name, bool value) {
    if (value) out[name] = true;
  };
  if (d.entrypoint) out["entrypoint"] = *d.entrypoint;
  list("command", d.command);
  list("env", d.env);
  list("networks", d.networks);
  list("publish", d.publish);
  text("workdir", d.workdir);
  text("user", d.user);
  text("hostname", d.hostname);
  flag("terminal", d.terminal);
  flag("system", d.system);
  flag("readOnly", d.read_only);
  flag("privileged", d.privileged);
  flag("autostart", d.autostart);
  if (Json limits = limits_json(d.limits); !limits.empty()) out["limits"] = std::move(limits);
  if (Json labels = labels_json(d); !labels.empty()) out["labels"] = std::move(labels);
  const std::string policy = d.restart.text();
  if (policy != "no") {
    out["restart"] = {{"policy", policy.substr(0, policy.find(':'))}};
    if (d.restart.retries != 0) out["restart"]["retries"] = d.restart.retries;
  }
  std::vector<std::string> volumes;
  for (const domain::ContainerVolume& volume : d.volumes) volumes.push_back(volume_text(volume));
  list("volumes", volumes);
  return out;
}

Json container_summary(const domain::ContainerStore& store, const domain::Container& container) {
  const domain::ContainerDefinition& d = container.definition;
  const domain::ContainerStatus status = store.status(container);
  using Phase = domain::ContainerStatus::Phase;
  std::string state = status.phase == Phase::created ? "created" : status.phase == Phase::running ? "running" : status.phase == Phase::failed ? "failed" : "stopped";
  if (state == "running" && domain::container_paused(container)) state = "paused";
  Json out = {{"name", d.name}, {"id", d.id}, {"kind", "container"}, {"state", state}, {"image", d.image_name}, {"project", container_project(container)},
              {"created", d.created}, {"restarts", status.restarts}};
  if (status.phase == Phase::running && !status.health.empty()) out["health"] = status.health;
  if (!status.started.empty()) out["started"] = status.started;
  if (!status.finished.empty() && status.phase != Phase::running) {
    out["finished"] = status.finished;
    out["exitCode"] = status.exit_code;
  }
  if (!status.reason.empty()) out["reason"] = status.reason;
  if (status.oom_killed && status.reason.empty()) out["reason"] = "it was killed for want of memory";
  if (status.phase == Phase::running && !status.address.empty()) out["addresses"] = {status.address.substr(0, status.address.find('/'))};
  Json ports = Json::array();
  for (const std::string& text : d.publish) {
    const auto parsed = net::parse_port_spec(text);
    if (!parsed) continue;
    for (const net::PortSpec& port : *parsed) {
      ports.push_back({{"address", port.address.text()}, {"host", port.host}, {"guest", port.guest}, {"protocol", port.udp ? "udp" : "tcp"}});
    }
  }
  if (!ports.empty()) out["ports"] = std::move(ports);
  if (Json labels = labels_json(d); !labels.empty()) out["labels"] = std::move(labels);
  if (Json limits = limits_json(d.limits); !limits.empty()) out["limits"] = std::move(limits);
  return out;
}

Result<Json> container_stats_view(const domain::ContainerStore& store, const domain::Container& container) {
  if (!store.running(container)) return std::unexpected(Error{fmt::format("'{}' does not run", container.definition.name), {}, {}, ENOTCONN});
  TRY_ASSIGN(const cgroup::Stats stats, domain::container_stats(store, container));
  u64 read = 0, written = 0;
  for (const auto& disk : stats.disks) {
    read += disk.read_bytes;
    written += disk.write_bytes;
  }
  Json out = {{"time", now_text()},         {"cpuNs", stats.cpu_ns},       {"memory", stats.memory},        {"pids", stats.pids},
              {"readBytes", read},          {"writeBytes", written},       {"oomKills", stats.oom_kills},   {"throttledNs", stats.throttled_ns}};
  if (stats.memory_limit != 0 && stats.memory_limit < (u64{1} << 60)) out["memoryLimit"] = stats.memory_limit;
  // Its cards as its first process sees them: /proc/PID/net/dev (proc(5)), all but the loopback.
  const domain::ContainerStatus status = store.status(container);
  const std::string devices = small_file(fmt::format("/proc/{}/net/dev", status.pid));
  u64 received = 0, sent = 0;
  bool any = false;
  for (std::size_t at = 0; at < devices.size();) {
    const std::size_t end = std::min(devices.find('\n', at), devices.size());
    const std::string line = devices.substr(at, end - at);
    at = end + 1;
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos || line.find("lo:") != std::string::npos) continue;
    u64 values[9] = {};
    const char* text = line.c_str() + colon + 1;
    for (u64& value : values) {
      char* next = nullptr;
      value = std::strtoull(text, &next, 10);
      text = next;
    }
    any = true;
    received += values[0];
    sent += values[8];
  }
  if (any && !container.definition.networks.empty() && container.definition.networks[0] == "host") any = false;  // those are the host's
  if (any) {
    out["rxBytes"] = received;
    out["txBytes"] = sent;
  }
  return out;
}

Result<Json> container_processes_view(const domain::ContainerStore& store, const domain::Container& container) {
  if (!store.running(container)) return std::unexpected(Error{fmt::format("'{}' does not run", container.definition.name), {}, {}, EBUSY});
  TRY_ASSIGN(const std::vector<pid_t> processes, domain::container_processes(store, container));
  const u64 tick_ns = 1'000'000'000 / static_cast<u64>(::sysconf(_SC_CLK_TCK)), page = static_cast<u64>(::sysconf(_SC_PAGESIZE));
  Json out = Json::array();
  for (const pid_t pid : processes) {
    const std::string folder = fmt::format("/proc/{}", pid), stat = small_file(folder + "/stat");
    const std::size_t open = stat.find('('), close = stat.rfind(')');
    if (open == std::string::npos || close == std::string::npos) continue;  // it has just ended
    int parent = 0;
    unsigned long user = 0, system = 0;
    long resident = 0;
    // Fields 4, 14, 15 and 24 (proc(5)).
    if (std::sscanf(stat.c_str() + close + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %*u %*u %ld", &parent, &user, &system,
                    &resident) != 4) {
      continue;
    }
    std::string command = small_file(folder + "/cmdline");
    while (command.ends_with('\0')) command.pop_back();
    std::ranges::replace(command, '\0', ' ');
    if (command.empty()) command = "[" + stat.substr(open + 1, close - open - 1) + "]";
    const std::string status = small_file(folder + "/status");
    const std::size_t uid = status.find("\nUid:");
    Json one = {{"pid", pid}, {"ppid", parent}, {"cpuNs", (u64{user} + system) * tick_ns}, {"memory", static_cast<u64>(resident) * page}, {"command", command}};
    if (uid != std::string::npos) one["user"] = std::to_string(std::strtoull(status.c_str() + uid + 5, nullptr, 10));
    out.push_back(std::move(one));
  }
  return out;
}

}  // namespace nagaya::api
