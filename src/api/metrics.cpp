#include "api/metrics.hpp"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <vector>

#include "host/fd.hpp"

namespace nagaya::api {
namespace {

class Page {
 public:
  void family(std::string_view name, std::string_view type, std::string_view help) { text += fmt::format("# HELP {0} {2}\n# TYPE {0} {1}\n", name, type, help); }
  template <class T>
  void sample(std::string_view name, std::string_view labels, T value) {
    text += labels.empty() ? fmt::format("{} {}\n", name, value) : fmt::format("{}{{{}}} {}\n", name, labels, value);
  }
  template <class T>
  void single(std::string_view name, std::string_view type, std::string_view help, T value) {
    family(name, type, help);
    sample(name, "", value);
  }
  std::string text;
};

u64 resident_bytes() {
  const auto file = host::read_file("/proc/self/statm", 4096);
  unsigned long size = 0, resident = 0;
  if (!file || std::sscanf(std::string(file->begin(), file->end()).c_str(), "%lu %lu", &size, &resident) != 2) return 0;
  return u64{resident} * static_cast<u64>(::sysconf(_SC_PAGESIZE));
}

u64 open_descriptors() {
  DIR* folder = ::opendir("/proc/self/fd");
  if (folder == nullptr) return 0;
  u64 n = 0;
  while (::readdir(folder) != nullptr) n++;
  ::closedir(folder);
  return n < 3 ? 0 : n - 3;  // ".", ".." and the folder's own
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Column {
  const char *field, *name, *type, *help;
  double scale;
};
constexpr Column columns[] = {
    {"cpuNs", "nagaya_domain_cpu_seconds_total", "counter", "CPU time used.", 1e-9},
    {"throttledNs", "nagaya_domain_cpu_throttled_seconds_total", "counter", "Time it was held back by its CPU quota.", 1e-9},
    {"memory", "nagaya_domain_memory_bytes", "gauge", "Memory of the host in use.", 1},
    {"memoryLimit", "nagaya_domain_memory_limit_bytes", "gauge", "Memory it may use.", 1},
    {"pids", "nagaya_domain_processes", "gauge", "Processes.", 1},
    {"readBytes", "nagaya_domain_disk_read_bytes_total", "counter", "Bytes read from disks.", 1},
    {"writeBytes", "nagaya_domain_disk_written_bytes_total", "counter", "Bytes written to disks.", 1},
    {"rxBytes", "nagaya_domain_network_receive_bytes_total", "counter", "Bytes received.", 1},
    {"txBytes", "nagaya_domain_network_transmit_bytes_total", "counter", "Bytes sent.", 1},
    {"oomKills", "nagaya_domain_oom_kills_total", "counter", "Processes killed for want of memory.", 1},
};

void render_domains(Page& page, Backend& backend, const Caller& caller) {
  const auto domains = backend.domains().list();
  page.single("nagaya_up", "gauge", "Whether the domains could be listed.", domains ? 1 : 0);
  if (!domains) return;
  struct Sampled {
    std::string labels;
    Json stats;
  };
  std::vector<Sampled> sampled;
  page.family("nagaya_domain_info", "gauge", "A domain and its state.");
  for (const Json& domain : *domains) {
    if (!sees(caller, domain.value("project", ""))) continue;
    const std::string labels = fmt::format("domain=\"{}\",kind=\"{}\",project=\"{}\"", label_text(domain.value("name", "")),
                                           label_text(domain.value("kind", "")), label_text(domain.value("project", "")));
    const std::string state = domain.value("state", "");
    page.sample("nagaya_domain_info", fmt::format("{},state=\"{}\"", labels, label_text(state)), 1);
    if (state != "running" && state != "paused") continue;
    if (auto stats = backend.domains().stats(domain.value("name", ""))) sampled.push_back({labels, std::move(*stats)});
  }
  for (const Column& column : columns) {
    page.family(column.name, column.type, column.help);
    for (const Sampled& one : sampled) {
      const auto value = one.stats.find(column.field);
      if (value == one.stats.end() || !value->is_number()) continue;
      if (column.scale == 1) {
        page.sample(column.name, one.labels, value->get<i64>());
      } else {
        page.sample(column.name, one.labels, value->get<double>() * column.scale);
      }
    }
  }
}

}  // namespace

std::string label_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

void Metrics::answered(const std::string& operation, unsigned status, double seconds) {
  const std::lock_guard lock(mutex_);
  Served& served = served_[operation];
  served.by_status[status]++;
  served.seconds += seconds;
  std::size_t i = 0;
  while (i < bounds.size() && seconds > bounds[i]) i++;
  served.buckets[i]++;
}

std::string Metrics::render(Backend& backend, const Caller& caller, std::size_t operations_running) const {
  Page page;
  render_domains(page, backend, caller);
  page.single("nagaya_operations_running", "gauge", "Operations under way.", operations_running);
  page.single("nagaya_http_connections", "gauge", "Open connections.", connections.load());
  page.single("nagaya_http_websockets", "gauge", "Open consoles and programs.", websockets.load());
  page.single("nagaya_http_event_streams", "gauge", "Followers of events.", followers.load());
  page.single("nagaya_http_connections_refused_total", "counter", "Connections refused because there were too many.", refused_connections.load());
  page.single("nagaya_http_failed_logins_total", "counter", "Requests with a wrong or no token.", failed_logins.load());
  {
    const std::lock_guard lock(mutex_);
    page.family("nagaya_http_requests_total", "counter", "Requests answered.");
    for (const auto& [operation, served] : served_) {
      for (const auto& [status, count] : served.by_status) {
        page.sample("nagaya_http_requests_total", fmt::format("operation=\"{}\",status=\"{}\"", operation, status), count);
      }
    }
    page.family("nagaya_http_request_duration_seconds", "histogram", "Time to the head of the answer.");
    for (const auto& [operation, served] : served_) {
      u64 sum = 0;
      for (std::size_t i = 0; i <= bounds.size(); i++) {
        sum += served.buckets[i];
        const std::string bound = i == bounds.size() ? "+Inf" : fmt::format("{}", bounds[i]);
        page.sample("nagaya_http_request_duration_seconds_bucket", fmt::format("operation=\"{}\",le=\"{}\"", operation, bound), sum);
      }
      page.sample("nagaya_http_request_duration_seconds_sum", fmt::format("operation=\"{}\"", operation), served.seconds);
      page.sample("nagaya_http_request_duration_seconds_count", fmt::format("operation=\"{}\"", operation), sum);
    }
  }
  page.single("process_cpu_seconds_total", "counter", "CPU time of the server.", cpu_seconds());
  page.single("process_resident_memory_bytes", "gauge", "Memory of the server.", resident_bytes());
  page.single("process_open_fds", "gauge", "Open descriptors of the server.", open_descriptors());
  return page.text;
}

}  // namespace nagaya::api
