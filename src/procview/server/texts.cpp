#include "procview/server/texts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/lines.hpp"

namespace nagaya::procview {
namespace {

constexpr u64 second = 1'000'000'000;
constexpr unsigned most_cpus = 8192;

u64 less(u64 a, u64 b) { return a > b ? a - b : 0; }

}  // namespace

std::string meminfo_text(std::string_view host, const Facts& f) {
  const auto& s = f.stats;
  const u64 total = f.memory_total;
  const u64 used = std::min(s.memory, total);
  const u64 swap_used = std::min(s.swap, f.swap_total);
  // What the kernel takes back without a cost: the file cache that is not in use, as MemAvailable counts it on a host.
  const u64 cache = std::min(less(s.memory_file, s.memory_shmem), used);
  const std::pair<std::string_view, u64> values[] = {
      {"MemTotal", total},
      {"MemFree", total - used},
      {"MemAvailable", std::min(total, total - used + cache)},
      {"Cached", s.memory_file},
      {"Active", s.memory_active_anon + s.memory_active_file},
      {"Inactive", s.memory_inactive_anon + s.memory_inactive_file},
      {"Active(anon)", s.memory_active_anon},
      {"Inactive(anon)", s.memory_inactive_anon},
      {"Active(file)", s.memory_active_file},
      {"Inactive(file)", s.memory_inactive_file},
      {"Unevictable", s.memory_unevictable},
      {"SwapTotal", f.swap_total},
      {"SwapFree", f.swap_total - swap_used},
      {"Dirty", s.memory_dirty},
      {"Writeback", s.memory_writeback},
      {"AnonPages", s.memory_anon},
      {"Mapped", s.memory_mapped},
      {"Shmem", s.memory_shmem},
      {"Slab", s.memory_slab},
      {"SUnreclaim", s.memory_slab},
      {"CommitLimit", total / 2 + f.swap_total},
      {"Committed_AS", used},
  };
  // Sizes of address spaces and pages are the same inside; all else the host counts for itself.
  constexpr std::string_view same[] = {"VmallocTotal", "Hugepagesize"};
  std::string out;
  for_lines(host, [&](std::string_view line) {
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) return;
    const auto name = line.substr(0, colon);
    if (std::find(std::begin(same), std::end(same), name) != std::end(same)) {
      out.append(line).push_back('\n');
      return;
    }
    const auto found =
        std::find_if(std::begin(values), std::end(values), [&](const auto& value) { return value.first == name; });
    const u64 kib = found != std::end(values) ? found->second / 1024 : 0;
    // "MemTotal:       16384 kB": the number ends in column 24; counts of huge pages have no unit.
    out += fmt::format("{}:{:>{}}{}\n", name, kib, name.size() < 15 ? 23 - name.size() : 8,
                       line.ends_with(" kB") ? " kB" : "");
  });
  return out;
}

std::string cpuinfo_text(std::string_view host, const Facts& facts) {
  std::string out, block;
  bool wanted = false;
  const auto flush = [&] {
    if (wanted) out += block;
    block.clear();
    wanted = false;
  };
  for_lines(host, [&](std::string_view line) {
    block.append(line).push_back('\n');
    if (line.empty()) return flush();
    if (line.starts_with("processor")) {
      unsigned number = 0;
      const auto colon = line.find(": ");
      if (colon == std::string_view::npos) return;
      std::from_chars(line.data() + colon + 2, line.data() + line.size(), number);
      wanted = std::find(facts.cpus.begin(), facts.cpus.end(), number) != facts.cpus.end();
    }
  });
  flush();
  return out;
}

std::string stat_text(std::string_view host, const Facts& f, u64 ticks_per_second) {
  const u64 tick = second / ticks_per_second;
  const u64 count = std::max<std::size_t>(f.cpus.size(), 1);
  const u64 user = f.stats.cpu_user_ns / tick, system = f.stats.cpu_system_ns / tick;
  const u64 all = count * (f.uptime / tick);
  const u64 idle = less(all, user + system);
  const auto line = [&](const std::string& name, u64 of, u64 number) {
    // Shares that add up to the whole: the last takes what division left.
    const auto share = [&](u64 value) {
      return of == 1 ? value : number + 1 == of ? value - value / of * (of - 1) : value / of;
    };
    return fmt::format("{} {} 0 {} {} 0 0 0 0 0 0\n", name, share(user), share(system), share(idle));
  };
  std::string out = line("cpu ", 1, 0);
  u64 number = 0;
  for (const unsigned cpu : f.cpus) out += line(fmt::format("cpu{}", cpu), count, number++);
  for_lines(host, [&](std::string_view text) {
    const auto name = text.substr(0, text.find(' '));
    if (name.starts_with("cpu")) return;
    if (name == "btime") {
      out += fmt::format("btime {}\n", f.started / second);
    } else if (name == "processes") {
      out += fmt::format("processes {}\n", f.last_pid);
    } else if (name == "procs_running") {
      out += fmt::format("procs_running {}\n", std::max<u64>(f.running, 1));  // who reads this
    } else {
      out += fmt::format("{} 0\n", name);  // interrupts and switches are the host's
    }
  });
  return out;
}

std::string uptime_text(const Facts& f) {
  const u64 idle = less(std::max<std::size_t>(f.cpus.size(), 1) * f.uptime, f.stats.cpu_ns);
  const auto text = [](u64 ns) { return fmt::format("{}.{:02}", ns / second, ns % second / (second / 100)); };
  return fmt::format("{} {}\n", text(f.uptime), text(idle));
}

std::string loadavg_text(const Facts& f) {
  return fmt::format("{:.2f} {:.2f} {:.2f} {}/{} {}\n", f.load[0], f.load[1], f.load[2], std::max<u64>(f.running, 1),
                     std::max<u64>(f.threads, 1), f.last_pid);
}

std::string swaps_text(const Facts& f) {
  std::string out = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
  if (f.swap_total != 0) {
    out += fmt::format("none{:36}virtual\t\t{}\t{}\t0\n", "", f.swap_total / 1024,
                       std::min(f.stats.swap, f.swap_total) / 1024);
  }
  return out;
}

std::string disk_line(const cgroup::Stats::Disk& disk, std::string_view name) {
  // Sectors of 512 bytes; times are not kept per group.
  return fmt::format("{:4} {:7} {} {} 0 {} 0 {} 0 {} 0 0 0 0 0 0 0 0 0 0\n", disk.major, disk.minor, name, disk.reads,
                     disk.read_bytes / 512, disk.writes, disk.write_bytes / 512);
}

std::string slabinfo_text() {
  return "slabinfo - version: 2.1\n"
         "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> "
         "<batchcount> <sharedfactor> : slabdata "
         "<active_slabs> <num_slabs> <sharedavail>\n";
}

std::string cpu_list_text(std::span<const unsigned> cpus) {
  std::string out;
  for (std::size_t i = 0; i < cpus.size();) {
    std::size_t last = i;
    while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1) ++last;
    if (!out.empty()) out += ',';
    out += last == i ? std::to_string(cpus[i]) : fmt::format("{}-{}", cpus[i], cpus[last]);
    i = last + 1;
  }
  return out + "\n";
}

std::vector<unsigned> parse_cpu_list(std::string_view text) {
  std::vector<unsigned> out;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    unsigned first = 0;
    auto got = std::from_chars(at, end, first);
    if (got.ec != std::errc{} || first >= most_cpus) break;
    unsigned last = first;
    if (got.ptr < end && *got.ptr == '-') {
      got = std::from_chars(got.ptr + 1, end, last);
      if (got.ec != std::errc{} || last >= most_cpus) break;
    }
    for (unsigned cpu = first; cpu <= last; ++cpu) out.push_back(cpu);
    at = got.ptr;
    if (at >= end || *at != ',') break;
    ++at;
  }
  return out;
}

}  // namespace nagaya::procview
