#include "api/local/container_view.hpp"

#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "api/text.hpp"
#include "definition/limits.hpp"
#include "host/process_stat.hpp"
#include "net/port_spec.hpp"

namespace nagaya::api {
namespace {

std::string small_file(const std::string& path) {
  const auto bytes = host::read_file(path, 64 * KiB);
  return bytes ? std::string(bytes->begin(), bytes->end()) : std::string();
}

}  // namespace

Json container_summary(const domain::ContainerStore& store, const domain::Container& container) {
  const domain::ContainerDefinition& d = container.definition;
  const domain::ContainerStatus status = store.status(container);
  using Phase = domain::ContainerStatus::Phase;
  std::string state = status.phase == Phase::created ? "created" : status.phase == Phase::running ? "running" : status.phase == Phase::failed ? "failed" : "stopped";
  if (state == "running" && domain::container_paused(container)) state = "paused";
  Json out = {{"name", d.name}, {"id", d.id}, {"kind", "container"}, {"state", state}, {"image", d.image_name}, {"project", definition::project_of(d)},
              {"created", d.created}, {"restarts", status.restarts}};
  if (Json restart = definition::restart_json(d.restart); !restart.is_null()) out["restart"] = std::move(restart);
  if (d.autostart) out["autostart"] = true;
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
  if (Json labels = definition::own_labels(d); !labels.empty()) out["labels"] = std::move(labels);
  if (Json limits = definition::limits_json(d.limits); !limits.empty()) out["limits"] = std::move(limits);
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
    const std::string folder = fmt::format("/proc/{}", pid);
    const auto stat = host::read_process_stat(pid);
    if (!stat) continue;  // it has just ended
    std::string command = small_file(folder + "/cmdline");
    while (command.ends_with('\0')) command.pop_back();
    std::ranges::replace(command, '\0', ' ');
    if (command.empty()) command = "[" + stat->name + "]";
    const std::string status = small_file(folder + "/status");
    const std::size_t uid = status.find("\nUid:");
    Json one = {{"pid", pid}, {"ppid", stat->parent}, {"cpuNs", (stat->user_ticks + stat->system_ticks) * tick_ns}, {"memory", stat->resident_pages * page}, {"command", command}};
    if (uid != std::string::npos) one["user"] = std::to_string(std::strtoull(status.c_str() + uid + 5, nullptr, 10));
    out.push_back(std::move(one));
  }
  return out;
}

}  // namespace nagaya::api
