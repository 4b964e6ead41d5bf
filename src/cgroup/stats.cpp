#include <fmt/format.h>

#include <map>

#include "cgroup/cgroup.hpp"
#include "cgroup/file.hpp"

namespace nagaya::cgroup {
namespace {

/// "name value" lines; 0 where the name or the file is not there.
class Table {
 public:
  Table(const std::string& folder, std::string_view file) {
    auto text = get(folder, file);
    if (!text) return;
    text_ = std::move(*text);
    for_lines(text_, [&](std::string_view line) {
      const auto name = take_word(line);
      values_.emplace(name, number(take_word(line)));
    });
  }
  [[nodiscard]] u64 operator[](std::string_view name) const {
    const auto found = values_.find(name);
    return found != values_.end() ? found->second : 0;
  }

 private:
  std::string text_;
  std::map<std::string_view, u64> values_;
};

u64 value_or(const std::string& folder, std::string_view file, u64 otherwise) {
  auto value = get_number(folder, file);
  return value ? *value : otherwise;
}

constexpr u64 none = ~u64{0};

/// v1 writes "no limit" as the largest number of pages.
u64 v1_limit(u64 bytes) { return bytes >= (u64{1} << 62) ? none : bytes; }

void cpu_v1(const std::string& cpu, const std::string& cpuacct, Stats& out) {
  out.cpu_ns = value_or(cpuacct, "cpuacct.usage", 0);
  out.cpu_user_ns = value_or(cpuacct, "cpuacct.usage_user", 0);
  out.cpu_system_ns = value_or(cpuacct, "cpuacct.usage_sys", 0);
  if (cpu.empty()) return;
  const Table stat(cpu, "cpu.stat");
  out.periods = stat["nr_periods"];
  out.throttled_periods = stat["nr_throttled"];
  out.throttled_ns = stat["throttled_time"];
}

void cpu_v2(const std::string& folder, Stats& out) {
  const Table stat(folder, "cpu.stat");
  out.cpu_ns = stat["usage_usec"] * 1000;
  out.cpu_user_ns = stat["user_usec"] * 1000;
  out.cpu_system_ns = stat["system_usec"] * 1000;
  out.periods = stat["nr_periods"];
  out.throttled_periods = stat["nr_throttled"];
  out.throttled_ns = stat["throttled_usec"] * 1000;
}

void memory_v1(const std::string& folder, Stats& out) {
  out.memory = value_or(folder, "memory.usage_in_bytes", 0);
  out.memory_limit = v1_limit(value_or(folder, "memory.limit_in_bytes", none));
  out.memory_peak = value_or(folder, "memory.max_usage_in_bytes", 0);
  const u64 both = value_or(folder, "memory.memsw.usage_in_bytes", out.memory);
  out.swap = both > out.memory ? both - out.memory : 0;
  out.swap_limit = none;
  const u64 both_limit = v1_limit(value_or(folder, "memory.memsw.limit_in_bytes", none));
  if (both_limit != none && out.memory_limit != none)
    out.swap_limit = both_limit - std::min(both_limit, out.memory_limit);
  const Table stat(folder, "memory.stat");
  out.memory_file = stat["total_cache"];
  out.memory_anon = stat["total_rss"];
  out.memory_shmem = stat["total_shmem"];
  out.memory_active_file = stat["total_active_file"];
  out.memory_inactive_file = stat["total_inactive_file"];
  out.memory_active_anon = stat["total_active_anon"];
  out.memory_inactive_anon = stat["total_inactive_anon"];
  out.memory_mapped = stat["total_mapped_file"];
  out.memory_dirty = stat["total_dirty"];
  out.memory_writeback = stat["total_writeback"];
  out.memory_slab = value_or(folder, "memory.kmem.usage_in_bytes", 0);
  out.memory_unevictable = stat["total_unevictable"];
  out.major_faults = stat["total_pgmajfault"];
  out.oom_kills = Table(folder, "memory.oom_control")["oom_kill"];
}

void memory_v2(const std::string& folder, Stats& out) {
  out.memory = value_or(folder, "memory.current", 0);
  out.memory_limit = value_or(folder, "memory.max", none);
  out.memory_peak = value_or(folder, "memory.peak", 0);
  out.swap = value_or(folder, "memory.swap.current", 0);
  out.swap_limit = value_or(folder, "memory.swap.max", none);
  const Table stat(folder, "memory.stat");
  out.memory_file = stat["file"];
  out.memory_anon = stat["anon"];
  out.memory_shmem = stat["shmem"];
  out.memory_active_file = stat["active_file"];
  out.memory_inactive_file = stat["inactive_file"];
  out.memory_active_anon = stat["active_anon"];
  out.memory_inactive_anon = stat["inactive_anon"];
  out.memory_mapped = stat["file_mapped"];
  out.memory_dirty = stat["file_dirty"];
  out.memory_writeback = stat["file_writeback"];
  out.memory_slab = stat["slab"];
  out.memory_unevictable = stat["unevictable"];
  out.major_faults = stat["pgmajfault"];
  out.oom_kills = Table(folder, "memory.events")["oom_kill"];
}

Stats::Disk& disk(std::vector<Stats::Disk>& disks, std::string_view numbers) {
  const u64 major = number(take_word(numbers, ':')), minor = number(take_word(numbers, ':'));
  for (auto& known : disks) {
    if (known.major == major && known.minor == minor) return known;
  }
  disks.push_back({.major = major, .minor = minor});
  return disks.back();
}

void disks_v1(const std::string& folder, Stats& out) {
  const auto read = [&](const char* file, u64 Stats::Disk::* reads, u64 Stats::Disk::* writes) {
    auto text = get(folder, file);
    if (!text) return;
    for_lines(*text, [&](std::string_view line) {  // 8:0 Read 4096; the last line is "Total N"
      const auto numbers = take_word(line);
      const auto kind = take_word(line);
      if (numbers.find(':') == std::string_view::npos) return;
      if (kind == "Read") disk(out.disks, numbers).*reads = number(take_word(line));
      if (kind == "Write") disk(out.disks, numbers).*writes = number(take_word(line));
    });
  };
  read("blkio.throttle.io_service_bytes_recursive", &Stats::Disk::read_bytes, &Stats::Disk::write_bytes);
  read("blkio.throttle.io_serviced_recursive", &Stats::Disk::reads, &Stats::Disk::writes);
}

void disks_v2(const std::string& folder, Stats& out) {
  auto text = get(folder, "io.stat");
  if (!text) return;
  for_lines(*text, [&](std::string_view line) {  // 8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6
    const auto numbers = take_word(line);
    if (numbers.find(':') == std::string_view::npos) return;
    auto& one = disk(out.disks, numbers);
    for (auto word = take_word(line); !word.empty(); word = take_word(line)) {
      const auto name = take_word(word, '=');
      const u64 value = number(word);
      if (name == "rbytes") one.read_bytes = value;
      if (name == "wbytes") one.write_bytes = value;
      if (name == "rios") one.reads = value;
      if (name == "wios") one.writes = value;
    }
  });
}

}  // namespace

Result<Stats> Group::stats() const {
  Stats out;
  out.memory_limit = out.pids_limit = out.swap_limit = none;
  const Part* v2 = v2_part();
  if (const Part* cpuacct = part("cpuacct")) {
    cpu_v1(folder("cpu"), cpuacct->folder, out);
  } else if (v2 != nullptr) {
    cpu_v2(v2->folder, out);  // cpu.stat is there without the controller
  }
  if (const Part* memory = part("memory")) (memory->v2 ? memory_v2 : memory_v1)(memory->folder, out);
  if (const Part* pids = part("pids")) {
    out.pids = value_or(pids->folder, "pids.current", 0);
    out.pids_limit = value_or(pids->folder, "pids.max", none);
  }
  if (const Part* io = part("blkio")) (io->v2 ? disks_v2 : disks_v1)(io->folder, out);
  return out;
}

}  // namespace nagaya::cgroup
