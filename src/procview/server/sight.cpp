#include "procview/server/sight.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <memory>

#include "host/fd.hpp"

namespace nagaya::procview {
namespace {

constexpr std::size_t most_threads = 4096;
constexpr u64 none = ~u64{0};
/// A file is asked for its size, opened and asked again, all at once: the group is read once for that.
constexpr auto good_for = std::chrono::milliseconds(5);

u64 now(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return static_cast<u64>(time.tv_sec) * 1'000'000'000 + static_cast<u64>(time.tv_nsec);
}

std::string text_of(const std::string& path) {
  auto bytes = host::read_file(path, 64 * KiB);
  return bytes ? std::string(bytes->begin(), bytes->end()) : std::string();
}

u64 number_of(const std::string& text) {
  u64 value = 0;
  return std::from_chars(text.data(), text.data() + text.size(), value).ec == std::errc{} ? value : none;
}

/// Calls `each` with a group's folder and those above it. A limit above binds as well.
template <class F>
void upwards(std::string folder, F&& each) {
  while (folder.size() > 1 && ::access((folder + "/cgroup.procs").c_str(), F_OK) == 0) {
    each(folder);
    folder.resize(folder.rfind('/'));
  }
}

/// How many CPUs' worth of time the quotas allow, rounded up; none: no quota.
u64 quota_cpus(const std::string& folder) {
  u64 least = none;
  upwards(folder, [&](const std::string& group) {
    u64 quota = none, period = none;
    const std::string v2 = text_of(group + "/cpu.max");  // "50000 100000"
    if (!v2.empty()) {
      quota = number_of(v2);
      period = number_of(v2.substr(std::min(v2.find(' ') + 1, v2.size())));
    } else {
      quota = number_of(text_of(group + "/cpu.cfs_quota_us"));  // "-1": no number here
      period = number_of(text_of(group + "/cpu.cfs_period_us"));
    }
    if (quota != none && period != none && period != 0)
      least = std::min(least, std::max<u64>(1, (quota + period - 1) / period));
  });
  return least;
}

std::vector<unsigned> cpus_of(const cgroup::Group& group) {
  std::string list;
  if (const std::string folder = group.folder("cpuset"); !folder.empty()) {
    // The nearest group that is made: a container without a set of its own has the one above.
    upwards(folder, [&](const std::string& at) {
      if (list.empty()) list = text_of(at + "/cpuset.cpus.effective");
      if (list.empty()) list = text_of(at + "/cpuset.effective_cpus");
    });
  }
  if (list.empty()) list = text_of("/sys/devices/system/cpu/online");
  auto cpus = parse_cpu_list(list);
  if (const u64 most = quota_cpus(group.folder("cpu")); cpus.size() > most) cpus.resize(most);
  if (cpus.empty()) cpus.push_back(0);
  return cpus;
}

u64 memory_limit(const std::string& folder) {
  u64 least = none;
  upwards(folder, [&](const std::string& group) {
    u64 limit = number_of(text_of(group + "/memory.max"));
    if (limit == none) limit = number_of(text_of(group + "/memory.limit_in_bytes"));
    least = std::min(least, limit);
  });
  return least;
}

/// As the innermost PID namespace numbers it: the host's numbers are none of a container's business.
u64 inner_pid(pid_t pid) {
  const std::string status = text_of(fmt::format("/proc/{}/status", pid));
  const auto line = status.find("\nNSpid:");  // proc(5): "NSpid:\t4711\t12"
  if (line == std::string::npos) return 0;
  const auto end = status.find('\n', line + 1);
  const auto last = status.rfind('\t', end);
  const u64 value = number_of(status.substr(last + 1, end - last - 1));
  return value == none ? 0 : value;
}

}  // namespace

ThreadCount count_threads(const cgroup::Group& group) {
  ThreadCount out;
  const auto processes = group.processes();
  if (!processes) return out;
  if (!processes->empty()) out.last_pid = inner_pid(*std::max_element(processes->begin(), processes->end()));
  for (const pid_t pid : *processes) {
    const std::string folder = fmt::format("/proc/{}/task", pid);
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(folder.c_str()), &::closedir);
    if (!entries) continue;
    while (const dirent* entry = ::readdir(entries.get())) {
      if (entry->d_name[0] == '.') continue;
      if (++out.all > most_threads) return out;
      const std::string stat = text_of(folder + "/" + entry->d_name + "/stat");
      // The state follows the name in parentheses, which may hold parentheses.
      const auto name_end = stat.rfind(')');
      if (name_end != std::string::npos && name_end + 2 < stat.size() &&
          (stat[name_end + 2] == 'R' || stat[name_end + 2] == 'D'))
        ++out.running;
    }
  }
  return out;
}

void Load::sample(u64 running, Clock::time_point at) {
  constexpr double minutes[] = {1, 5, 15};
  if (!last_) {
    for (double& average : averages_) average = static_cast<double>(running);  // nothing is known of the time before
  } else {
    const double passed = std::chrono::duration<double>(at - *last_).count();
    for (int i = 0; i < 3; ++i) {
      const double keep = std::exp(-passed / (60.0 * minutes[i]));
      averages_[i] = averages_[i] * keep + static_cast<double>(running) * (1 - keep);
    }
  }
  last_ = at;
}

Result<Sight> Sight::of(const cgroup::Layout& layout, const Container& container) {
  Sight sight;
  sight.container_ = container;
  TRY_ASSIGN(sight.group_, cgroup::Group::at(layout, {.path = container.cgroup,
                                                      .manager = container.systemd ? cgroup::Manager::systemd
                                                                                   : cgroup::Manager::files}));
  return sight;
}

void Sight::sample_load() {
  threads_ = count_threads(group_);
  load_.sample(threads_.running, Clock::now());
}

Result<Facts> Sight::facts() {
  const auto now_here = Clock::now();
  if (facts_ && now_here - facts_at_ < good_for) return *facts_;
  TRY_ASSIGN(facts_, look());
  facts_at_ = now_here;
  return *facts_;
}

Result<Facts> Sight::look() {
  Facts out;
  TRY_ASSIGN(out.stats, group_.stats());
  struct sysinfo host{};
  ::sysinfo(&host);
  const u64 host_memory = u64{host.totalram} * host.mem_unit, host_swap = u64{host.totalswap} * host.mem_unit;
  const std::string memory = group_.folder("memory");
  out.counted = ::access(memory.c_str(), F_OK) == 0;
  const u64 limit = memory_limit(memory);
  out.memory_total = std::min(limit, host_memory);
  out.swap_total = std::min(out.stats.swap_limit, host_swap);
  out.cpus = cpus_of(group_);
  const u64 up = now(CLOCK_BOOTTIME);
  out.uptime = up > container_.started ? up - container_.started : 0;
  out.started = now(CLOCK_REALTIME) - out.uptime;
  for (int i = 0; i < 3; ++i) out.load[i] = load_.average(i);
  out.running = threads_.running;
  out.threads = threads_.all;
  out.last_pid = threads_.last_pid;
  return out;
}

}  // namespace nagaya::procview
