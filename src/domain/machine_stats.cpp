#include "domain/machine_stats.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "host/fd.hpp"
#include "host/process_stat.hpp"

namespace nagaya::domain {
namespace {

std::string small_file(const std::string& path) {
  const auto bytes = host::read_file(path, 64 * KiB);
  return bytes ? std::string(bytes->begin(), bytes->end()) : std::string();
}

// "key: value" lines of /proc/PID/io and /proc/PID/status.
u64 line_value(const std::string& text, const std::string& key) {
  const std::size_t at = text.find("\n" + key);
  return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + 1 + key.size(), nullptr, 10);
}

struct Times {
  u64 user = 0, system = 0;  // ticks
};

/// False: there is no such process.
bool add_times(pid_t pid, Times& out) {
  const auto stat = host::read_process_stat(pid);
  if (!stat) return false;
  out.user += stat->user_ticks;
  out.system += stat->system_ticks;
  return true;
}

/// Its vCPUs' processes for direct execution (engine/soft/direct.hpp), each a child of a vCPU's thread.
void add_times_of_children(pid_t pid, Times& out) {
  std::error_code none;
  for (const auto& task : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid), none)) {
    std::ifstream children(task.path() / "children");
    for (pid_t child = 0; children >> child;) add_times(child, out);
  }
}

}  // namespace

std::optional<pid_t> machine_process(const Machine& machine) {
  const pid_t monitor = std::atoi(small_file(machine.places.pid()).c_str());
  if (monitor <= 0) return {};
  std::ifstream children(fmt::format("/proc/{}/task/{}/children", monitor, monitor));
  for (pid_t child = 0; children >> child;) {
    // Its process calls itself so once it is jailed, and by its program's name before.
    const std::string name = small_file(fmt::format("/proc/{}/comm", child));
    if (name.starts_with("vm:") || name.starts_with("nagaya-vmm")) return child;
  }
  return {};
}

Result<cgroup::Stats> machine_stats(const MachineStore& store, const Machine& machine) {
  const auto no_more = [&] { return std::unexpected(Error{fmt::format("machine '{}' does not run", machine.spec.name), {}, {}, ENOTCONN}); };
  const auto pid = store.running(machine) ? machine_process(machine) : std::nullopt;
  if (!pid) return no_more();
  const std::string status = "\n" + small_file(fmt::format("/proc/{}/status", *pid)), io = "\n" + small_file(fmt::format("/proc/{}/io", *pid));
  Times times;
  if (!add_times(*pid, times)) return no_more();
  add_times_of_children(*pid, times);
  const u64 tick_ns = 1'000'000'000 / static_cast<u64>(::sysconf(_SC_CLK_TCK));
  cgroup::Stats out;
  out.cpu_user_ns = times.user * tick_ns;
  out.cpu_system_ns = times.system * tick_ns;
  out.cpu_ns = out.cpu_user_ns + out.cpu_system_ns;
  out.memory = line_value(status, "VmRSS:") * KiB;
  out.memory_limit = machine.spec.memory;
  out.pids = line_value(status, "Threads:");
  out.disks.push_back({.read_bytes = line_value(io, "read_bytes:"), .write_bytes = line_value(io, "write_bytes:")});
  return out;
}

}  // namespace nagaya::domain
