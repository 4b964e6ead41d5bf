// events: statistics and out-of-memory events, one JSON object a line, in runc's shape.
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include <charconv>

#include "host/fd.hpp"
#include "oci/commands.hpp"
#include "oci/json_text.hpp"
#include "oci/options.hpp"

namespace nagaya::oci {
namespace {

/// "5s", "500ms", "1m30s" (Go's durations); milliseconds.
Result<int> duration_ms(const std::string& text) {
  double total = 0;
  std::string_view rest = text;
  while (!rest.empty()) {
    double value = 0;
    const auto [end, code] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
    if (code != std::errc{}) return fail("'" + text + "' is no duration");
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    const std::string_view unit = rest.substr(0, rest.find_first_of("0123456789."));
    rest.remove_prefix(unit.size());
    const double scale = unit == "ms" ? 1 : unit == "s" ? 1000 : unit == "m" ? 60'000 : unit == "h" ? 3'600'000 : 0;
    if (scale == 0) return fail("'" + text + "' is no duration", "", "write 500ms, 5s or 1m");
    total += value * scale;
  }
  if (total < 1 || total > 1e9) return fail("the interval '" + text + "' is out of range");
  return static_cast<int>(total);
}

std::string field(const char* name, u64 value) { return "\"" + std::string(name) + "\":" + std::to_string(value); }

std::string disks(const cgroup::Stats& stats, bool operations) {
  std::string out;
  for (const cgroup::Stats::Disk& disk : stats.disks) {
    const auto entry = [&](const char* op, u64 value) {
      out += (out.empty() ? "" : ",") + ("{" + field("major", disk.major)) + "," + field("minor", disk.minor) +
             ",\"op\":\"" + op + "\"," + field("value", value) + "}";
    };
    entry("Read", operations ? disk.reads : disk.read_bytes);
    entry("Write", operations ? disk.writes : disk.write_bytes);
  }
  return "[" + out + "]";
}

std::string stats_json(const std::string& id, const cgroup::Stats& stats) {
  const std::string cpu = "{\"usage\":{" + field("total", stats.cpu_ns) + "," + field("kernel", stats.cpu_system_ns) +
                          "," + field("user", stats.cpu_user_ns) + "},\"throttling\":{" +
                          field("periods", stats.periods) + "," + field("throttledPeriods", stats.throttled_periods) +
                          "," + field("throttledTime", stats.throttled_ns) + "}}";
  const std::string memory =
      "{" + field("cache", stats.memory_file) + ",\"usage\":{" + field("limit", stats.memory_limit) + "," +
      field("usage", stats.memory) + "," + field("max", stats.memory_peak) + ",\"failcnt\":0},\"swap\":{" +
      field("limit", 0) + "," + field("usage", stats.swap) + ",\"failcnt\":0},\"kernel\":{" + field("limit", 0) + "," +
      field("usage", stats.memory_slab) + ",\"failcnt\":0},\"raw\":{" + field("rss", stats.memory_anon) + "," +
      field("cache", stats.memory_file) + "," + field("oom_kill", stats.oom_kills) + "}}";
  return "{\"type\":\"stats\",\"id\":" + quoted(id) + ",\"data\":{\"cpu\":" + cpu +
         ",\"cpuset\":{},\"memory\":" + memory + ",\"pids\":{" + field("current", stats.pids) + "," +
         field("limit", stats.pids_limit == ~u64{0} ? 0 : stats.pids_limit) +
         "},\"blkio\":{\"ioServiceBytesRecursive\":" + disks(stats, false) +
         ",\"ioServicedRecursive\":" + disks(stats, true) +
         "},\"hugetlb\":{},\"intel_rdt\":{},\"network_interfaces\":null}}\n";
}

/// Takes what the watch has to say, whatever its kind.
void drain(int fd) {
  char buffer[4096];
  if (::read(fd, buffer, sizeof buffer) < 0) return;
}

Result<int> follow(const Global& global, const std::string& id, const cgroup::Group& group, int interval_ms) {
  auto watch = group.oom_watch();
  const host::Fd oom = watch ? std::move(*watch) : host::Fd();
  u64 seen = 0;
  if (const auto stats = group.stats()) seen = stats->oom_kills;
  for (;;) {
    TRY_ASSIGN(const container::State now, container::state(global.root, id));
    if (now.status == container::Status::stopped) return 0;
    const auto stats = group.stats();
    if (!stats) return 0;  // it went away meanwhile
    TRY(print(stats_json(id, *stats)));
    timespec begin{};
    ::clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int left = interval_ms; left > 0;) {
      pollfd item{oom.get(), POLLIN, 0};
      if (::poll(&item, oom ? 1 : 0, left) > 0) {
        drain(oom.get());
        const auto after = group.stats();
        // The watch of v2 tells of every change of memory.events; a v1 eventfd only of OOM, also as the group is
        // removed.
        if (after && after->oom_kills > seen) {
          seen = after->oom_kills;
          TRY(print("{\"type\":\"oom\",\"id\":" + quoted(id) + "}\n"));
        } else if (!after) {
          return 0;
        }
      }
      timespec current{};
      ::clock_gettime(CLOCK_MONOTONIC, &current);
      left = interval_ms -
             static_cast<int>((current.tv_sec - begin.tv_sec) * 1000 + (current.tv_nsec - begin.tv_nsec) / 1'000'000);
    }
  }
}

}  // namespace

Result<int> events_command(const Global& global, Words words) {
  constexpr Option options[] = {{"stats"}, {"interval", 0, true}};
  TRY_ASSIGN(const Parsed parsed, Parsed::read(words, options, false));
  TRY_ASSIGN(const std::string id, only_argument(parsed.arguments, "the container's id"));
  TRY_ASSIGN(const int interval, duration_ms(parsed.get("interval", "5s")));
  TRY_ASSIGN(const container::State state, container::state(global.root, id));
  if (state.status == container::Status::stopped) return fail("container '" + id + "' is not running");
  TRY_ASSIGN(const cgroup::Group group, container::group_of(state));
  if (!parsed.has("stats")) return follow(global, id, group, interval);
  TRY_ASSIGN(const cgroup::Stats stats, group.stats());
  TRY(print(stats_json(id, stats)));
  return 0;
}

}  // namespace nagaya::oci
