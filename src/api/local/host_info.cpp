#include "api/local/host_info.hpp"

#include <fmt/format.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "api/local/commands.hpp"
#include "host/dirs.hpp"
#include "host/fd.hpp"
#include "host/thread.hpp"

namespace nagaya::api {
namespace {

std::string text_of(const std::string& path) {
  const auto bytes = host::read_file(path, 4 * MiB);
  return bytes ? std::string(bytes->begin(), bytes->end()) : std::string();
}

u64 number_of(const std::string& path) { return std::strtoull(text_of(path).c_str(), nullptr, 10); }

u64 kilobytes(const std::string& text, const std::string& key) {
  const std::size_t at = text.find(key);
  return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + key.size(), nullptr, 10) * KiB;
}

std::string cpu_model() {
  const std::string text = text_of("/proc/cpuinfo");
  const std::size_t at = text.find("model name");
  if (at == std::string::npos) return "unknown";
  const std::size_t begin = text.find(": ", at);
  return begin == std::string::npos ? "unknown" : text.substr(begin + 2, text.find('\n', begin) - begin - 2);
}

// All but idle and waiting for disks, of the first line of /proc/stat (proc(5)).
u64 busy_ns() {
  std::istringstream line(text_of("/proc/stat"));
  std::string name;
  u64 user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, softirq = 0, steal = 0;
  line >> name >> user >> nice >> system >> idle >> wait >> irq >> softirq >> steal;
  return (user + nice + system + irq + softirq + steal) * (1'000'000'000 / static_cast<u64>(::sysconf(_SC_CLK_TCK)));
}

Json numa_nodes() {
  Json out = Json::array();
  for (int id = 0; id < 1024; id++) {
    const std::string folder = fmt::format("/sys/devices/system/node/node{}", id);
    std::error_code ignored;
    if (!std::filesystem::exists(folder, ignored)) continue;
    std::string cpus = text_of(folder + "/cpulist");
    while (cpus.ends_with('\n')) cpus.pop_back();
    const std::string memory = text_of(folder + "/meminfo");
    out.push_back({{"id", id}, {"cpus", cpus}, {"memoryTotal", kilobytes(memory, "MemTotal:")}, {"memoryFree", kilobytes(memory, "MemFree:")}});
  }
  return out;
}

Json storage() {
  Json out = Json::array();
  const std::string path = host::state_dir();
  struct statvfs about {};
  if (::statvfs(path.c_str(), &about) == 0) {
    out.push_back({{"path", path}, {"size", u64{about.f_blocks} * about.f_frsize}, {"free", u64{about.f_bavail} * about.f_frsize}});
  }
  return out;
}

// From the rows of `nagaya doctor` about engines; "engine-auto" says "NAME: why".
Json engines_of(const Json& checks) {
  const auto row = [&](const std::string& name) {
    for (const Json& check : checks) {
      if (check.value("name", "") == name) return check;
    }
    return Json::object();
  };
  const std::string chosen = row("engine-auto").value("detail", "");
  Json out = Json::array();
  for (const std::string name : {"kvm", "soft"}) {
    const Json found = row("engine-" + name);
    out.push_back({{"name", name}, {"usable", found.value("ok", false)}, {"chosen", chosen.starts_with(name + ":")}, {"reason", found.value("detail", "")}});
  }
  return out;
}

}  // namespace

Json HostInfo::checks() {
  const std::lock_guard lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  if (looked_ != std::chrono::steady_clock::time_point{} && now - looked_ < std::chrono::minutes(5)) return checks_;
  looked_ = now;
  const auto end = run_command({"doctor", "-f", "json"});
  const Json rows = end ? Json::parse(end->output, nullptr, false) : Json();
  if (!rows.is_array()) return checks_;
  checks_ = Json::array();
  for (const Json& row : rows) {
    Json one = {{"name", row.value("check", "")}, {"ok", row.value("state", "") == "ok"}, {"detail", row.value("detail", "")}};
    if (const std::string mend = row.value("mend", ""); !mend.empty()) one["remedy"] = mend;
    checks_.push_back(std::move(one));
  }
  return checks_;
}

Result<Json> HostInfo::get() {
  utsname names{};
  ::uname(&names);
  double load[3] = {0, 0, 0};
  ::getloadavg(load, 3);
  const std::string memory = text_of("/proc/meminfo"), ksm = "/sys/kernel/mm/ksm/";
  const Json checked = checks();
  const u64 sharing = number_of(ksm + "pages_sharing"), page = static_cast<u64>(::sysconf(_SC_PAGESIZE));
  return Json{{"version", NAGAYA_VERSION},
              {"host",
               {{"name", names.nodename},
                {"kernel", names.release},
                {"cpus", host::usable_cpus()},
                {"cpuModel", cpu_model()},
                {"load", {load[0], load[1], load[2]}},
                {"memoryTotal", kilobytes(memory, "MemTotal:")},
                {"memoryAvailable", kilobytes(memory, "MemAvailable:")},
                {"cpuBusyNs", busy_ns()},
                {"uptime", std::strtod(text_of("/proc/uptime").c_str(), nullptr)}}},
              {"engines", engines_of(checked)},
              {"ksm", {{"running", number_of(ksm + "run") == 1}, {"pagesShared", number_of(ksm + "pages_shared")}, {"pagesSharing", sharing}, {"savedBytes", sharing * page}}},
              {"numaNodes", numa_nodes()},
              {"storage", storage()},
              {"checks", checked}};
}

}  // namespace nagaya::api
