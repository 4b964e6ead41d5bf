// What the files say, from plain facts: formats as in proc(5), with the container's own numbers in the places of the
// host's.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.hpp"
#include "cgroup/cgroup.hpp"

namespace nagaya::procview {

/// A container as the files show it. Times in nanoseconds, sizes in bytes.
struct Facts {
  cgroup::Stats stats;
  bool counted = true;   ///< it has a group that counts its memory; users without root may have none
  u64 memory_total = 0;  ///< its limit, or the host's memory
  u64 swap_total = 0;
  std::vector<unsigned> cpus;    ///< the host's numbers of those it can keep busy at once
  u64 uptime = 0;                ///< since its start
  u64 started = 0;               ///< its start, since the epoch
  double load[3] = {};           ///< over 1, 5 and 15 minutes
  u64 running = 0, threads = 0;  ///< threads that want a CPU now; all
  u64 last_pid = 0;
};

/// `host`: the host's own file, whose lines and order stay.
std::string meminfo_text(std::string_view host, const Facts& facts);
std::string cpuinfo_text(std::string_view host, const Facts& facts);
std::string stat_text(std::string_view host, const Facts& facts, u64 ticks_per_second);
std::string uptime_text(const Facts& facts);
std::string loadavg_text(const Facts& facts);
std::string swaps_text(const Facts& facts);
/// `name` gives a disk's name by its numbers; empty: it is left out.
template <class F>
std::string diskstats_text(const Facts& facts, F&& name);
std::string disk_line(const cgroup::Stats::Disk& disk, std::string_view name);
std::string slabinfo_text();
std::string cpu_list_text(std::span<const unsigned> cpus);
/// "0-2,9" → 0 1 2 9; nonsense ends the list.
std::vector<unsigned> parse_cpu_list(std::string_view text);

template <class F>
std::string diskstats_text(const Facts& facts, F&& name) {
  std::string out;
  for (const auto& disk : facts.stats.disks) {
    if (const std::string known = name(disk.major, disk.minor); !known.empty()) out += disk_line(disk, known);
  }
  return out;
}

}  // namespace nagaya::procview
