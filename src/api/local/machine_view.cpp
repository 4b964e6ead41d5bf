#include "api/local/machine_view.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cstdlib>

#include "api/text.hpp"
#include "definition/container.hpp"
#include "domain/machine_control.hpp"
#include "domain/machine_policy.hpp"
#include "domain/machine_stats.hpp"
#include "net/port_spec.hpp"

namespace nagaya::api {
Json machine_summary(const domain::MachineStore& store, const domain::Machine& machine) {
  const definition::MachineNotes notes = definition::MachineNotes::read(machine);
  const domain::MachineSpec& s = machine.spec;
  Json out = {{"name", s.name}, {"kind", "vm"}, {"image", s.image_name}, {"project", notes.project}, {"created", s.created}, {"state", "stopped"}};
  out["limits"] = definition::machine_limits(s);
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
  const domain::MachinePolicy policy = domain::MachinePolicy::read(machine);
  if (Json restart = definition::restart_json(policy.restart); !restart.is_null()) out["restart"] = std::move(restart);
  if (policy.autostart) out["autostart"] = true;
  struct stat when {};
  if (!store.running(machine)) {
    if (::stat(machine.places.console_log().c_str(), &when) == 0) {
      out["finished"] = time_text(when.st_mtime);
      out["exitCode"] = domain::machine_exit_code(machine);
    } else {
      out["state"] = "created";
    }
    return out;
  }
  out["state"] = "running";
  if (const auto text = host::read_file(machine.places.restarts(), 64)) out["restarts"] = std::atoi(std::string(text->begin(), text->end()).c_str());
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
