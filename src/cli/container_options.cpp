#include "cli/container_options.hpp"

#include <fcntl.h>
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "cli/sizes.hpp"
#include "host/fd.hpp"

namespace nagaya::cli {
namespace {

using domain::ContainerDefinition;
using domain::DomainLimits;

constexpr u64 longest_env_file = MiB;

// Options of machines that would say nothing to a container.
constexpr std::array machine_only = {"kernel", "initrd", "append", "module", "protocol", "decompress-in-guest", "firmware", "engine", "cpu", "code-cache", "direct-execution",
                                     "engine-log", "count-blocks", "perf-map", "no-reboot", "save-on-signal", "save-and-exit", "restore", "control", "disk-size",
                                     "ssh-key", "user-data", "serial", "debug-console", "debug-exit", "testdev", "disk", "net", "console", "vsock", "balloon",
                                     "rng", "share", "pmem", "fw-cfg", "numa-node"};

std::unexpected<Error> bad(const std::string& option, const std::string& value, std::string why) { return fail(fmt::format("--{} {}", option, value), std::move(why)); }

template <class T>
Result<> take_number(const Parsed& options, const std::string& key, T& out) {
  if (!options.has(key)) return {};
  const std::string text = options.last(key);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc{} || end != text.data() + text.size()) return bad(key, text, "it must be a whole number");
  return {};
}

template <class T>
Result<> take_size(const Parsed& options, const std::string& key, T& out) {
  if (!options.has(key)) return {};
  auto size = parse_size(options.last(key));
  if (!size) return std::unexpected(std::move(size.error()).within("--" + key));
  out = static_cast<T>(*size);
  return {};
}

/// "K=V", or "K" with our own value; a variable we do not have is left out.
Result<> add_variable(const std::string& text, const std::string& option, std::vector<std::string>& out) {
  if (text.empty() || text[0] == '=') return bad(option, text, "the name is missing");
  if (text.find('=') != std::string::npos) {
    out.push_back(text);
  } else if (const char* value = std::getenv(text.c_str())) {
    out.push_back(text + "=" + value);
  }
  return {};
}

std::vector<std::string> lines_of(const std::vector<u8>& bytes) {
  std::vector<std::string> out;
  std::string line;
  for (const u8 byte : bytes) {
    if (byte == '\n') {
      out.push_back(std::exchange(line, {}));
    } else {
      line += static_cast<char>(byte);
    }
  }
  if (!line.empty()) out.push_back(line);
  return out;
}

std::unexpected<Error> too_little(const std::string& option, const std::string& value, u64 size) {
  return fail(fmt::format("--{} {}", option, value), "this is less than 512 KiB; a bare number is bytes", fmt::format("write {}M for MiB", size));
}

Result<> take_environment(const Parsed& options, ContainerDefinition& definition) {
  for (const std::string& path : options.all("env-file")) {
    TRY_ASSIGN(const auto bytes, host::read_file(path, longest_env_file));
    for (const std::string& line : lines_of(bytes)) {
      const std::size_t start = line.find_first_not_of(" \t");
      if (start == std::string::npos || line[start] == '#') continue;
      TRY(add_variable(line.substr(start), "env-file " + path + ":", definition.env));
    }
  }
  for (const std::string& text : options.all("env")) TRY(add_variable(text, "env", definition.env));
  return {};
}

Result<> take_labels(const Parsed& options, ContainerDefinition& definition) {
  for (const std::string& text : options.all("label")) {
    const std::size_t equals = text.find('=');
    if (text.empty() || equals == 0) return bad("label", text, "write NAME=VALUE");
    definition.labels[text.substr(0, equals)] = equals == std::string::npos ? "" : text.substr(equals + 1);
  }
  return {};
}

Result<> take_volumes(const Parsed& options, ContainerDefinition& definition) {
  for (const std::string& text : options.all("volume")) {
    auto volume = domain::parse_volume(text);
    if (!volume) return std::unexpected(std::move(volume.error()).within("a volume"));
    if (volume->source.starts_with('/')) {
      // A misspelt folder is an error here and not an empty folder made by root.
      if (auto there = host::Fd::open(volume->source, O_PATH); !there) {
        return fail(fmt::format("-v {}", text), there.error().message(), fmt::format("mkdir -p '{}', or name a volume without a slash", volume->source));
      }
    }
    definition.volumes.push_back(std::move(*volume));
  }
  return {};
}

Result<> take_namespaces(const Parsed& options, ContainerDefinition& definition) {
  for (const auto& [key, out] : {std::pair{"pid", &definition.pid}, {"ipc", &definition.ipc}, {"uts", &definition.uts}, {"userns", &definition.userns},
                                 {"cgroupns", &definition.cgroupns}}) {
    *out = options.last(key);
    if (*out == "private") out->clear();
  }
  return {};
}

}  // namespace

std::vector<OptionSpec> limit_options() {
  return {
      {"--memory-swap", "SIZE", "memory and swap together; -1: no limit"},
      {"--memory-reservation", "SIZE", "what is left to it when memory gets scarce"},
      {"--cpu-shares", "N", "its part of the CPUs when they are busy (1024 is usual)"},
      {"--cpuset-cpus", "LIST", "CPUs it may use, such as 0-1,3"},
      {"--cpuset-mems", "LIST", "memory nodes it may use"},
      {"--pids-limit", "N", "most processes and threads; -1: no limit (default: 4096)"},
      {"--blkio-weight", "N", "its part of the disks, 10 to 1000"},
      {"--device-read-bps", "DEVICE:RATE", "bytes per second read from a disk", Completes::file, {}, true, true},
      {"--device-write-bps", "DEVICE:RATE", "bytes per second written to a disk", Completes::file, {}, true, true},
      {"--device-read-iops", "DEVICE:RATE", "reads per second of a disk", Completes::file, {}, true, true},
      {"--device-write-iops", "DEVICE:RATE", "writes per second of a disk", Completes::file, {}, true, true},
  };
}

std::vector<OptionSpec> container_options() {
  std::vector<OptionSpec> out = {
      {"--init", "", "boot the image's own init: a whole system"},
      {"--no-reaper", "", "the program itself is process 1; usually a small init of ours starts it and takes the ends of orphans"},
      {"--env-file", "FILE", "lines NAME=VALUE for its environment", Completes::file, {}, true, true},
      {"--label", "NAME=VALUE", "a note to the container", Completes::nothing, {}, true, true},
      {"--cidfile", "FILE", "write the container's id to FILE, which must not be there", Completes::file},
      {"--stop-signal", "SIGNAL", "what 'nagaya stop' sends (default: the image's, else TERM)"},
      {"--stop-timeout", "SECONDS", "how long it may take then (default: 10)"},
      {"--health-cmd", "COMMAND", "ask it from time to time whether it is well: a command for its shell, which ends with 0 (default: the image's)"},
      {"--health-interval", "TIME", "how often, such as 1m30s (default: 30s)"},
      {"--health-timeout", "TIME", "an answer that takes longer is a failure (default: 30s)"},
      {"--health-retries", "N", "so many failures in a row make it unhealthy (default: 3)"},
      {"--health-start-period", "TIME", "failures do not count so long after its start (default: 0s)"},
      {"--no-healthcheck", "", "do not ask, whatever the image says"},
      {"-P,--publish-all", "", "publish all ports the image names, each on a free port of the host"},
      {"--add-host", "NAME:ADDRESS", "a line of its /etc/hosts", Completes::nothing, {}, true, true},
      {"--dns", "ADDRESS", "a name server instead of the network's", Completes::nothing, {}, true, true},
      {"--cap-add", "CAPABILITY", "a right beside the usual ones, or ALL", Completes::nothing, {}, true, true},
      {"--cap-drop", "CAPABILITY", "a right that is taken away, or ALL", Completes::nothing, {}, true, true},
      {"--security-opt", "OPTION", "seccomp=FILE|unconfined, no-new-privileges, apparmor=PROFILE, mask=PATHS, unmask=ALL", Completes::nothing, {}, true, true},
      {"--privileged", "", "all rights and devices of this host: no protection is left"},
      {"--device", "DEVICE", "a device of this host: /dev/HOST[:/dev/INSIDE][:rwm]", Completes::file, {}, true, true},
      {"--storage-driver", "DRIVER", "how its root is made of the image: overlay, fuse-overlayfs or vfs, a copy (default: NAGAYA_STORAGE_DRIVER, else the first that works)",
       Completes::words, {"overlay", "fuse-overlayfs", "vfs"}},
      {"--read-only", "", "nothing of its root can be changed"},
      {"--tmpfs", "PATH[:OPTIONS]", "a file system in memory", Completes::nothing, {}, true, true},
      {"--shm-size", "SIZE", "size of /dev/shm (default: 64M)"},
      {"--ulimit", "NAME=SOFT[:HARD]", "a limit of each of its processes, such as nofile=1024", Completes::nothing, {}, true, true},
      {"--sysctl", "NAME=VALUE", "a setting of a namespace of its own", Completes::nothing, {}, true, true},
      {"--userns", "MODE", "users: host, or auto, numbers of its own from /etc/subuid; containers of others than root are in a user namespace anyway", Completes::words, {"host", "auto"}},
      {"--pid", "MODE", "processes: private, host or container:NAME", Completes::words, {"private", "host", "container:"}, false},
      {"--ipc", "MODE", "shared memory and queues: private, host or container:NAME", Completes::words, {"private", "host", "container:"}, false},
      {"--uts", "MODE", "host name: private, host or container:NAME", Completes::words, {"private", "host", "container:"}, false},
      {"--cgroupns", "MODE", "view of cgroups: private or host", Completes::words, {"private", "host"}},
  };
  for (OptionSpec& option : out) option.group = "Options of containers";
  for (OptionSpec& option : limit_options()) {
    option.group = "Limits of containers and of machines of images";
    out.push_back(std::move(option));
  }
  return out;
}

std::string container_only_option(const Parsed& options, bool limits_count) {
  std::vector<std::string> limits;
  for (const OptionSpec& option : limit_options()) limits.push_back(option.key());
  for (const OptionSpec& option : container_options()) {
    if (options.has(option.key()) && (limits_count || std::ranges::find(limits, option.key()) == limits.end())) return "--" + option.key();
  }
  return {};
}

std::string machine_only_option(const Parsed& options) {
  const auto found = std::ranges::find_if(machine_only, [&](const char* key) { return options.has(key); });
  return found == machine_only.end() ? "" : fmt::format("--{}", *found);
}

Result<u64> cpu_thousandths(const std::string& text) {
  double cpus = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), cpus);
  if (error != std::errc{} || end != text.data() + text.size() || !(cpus >= 0.001 && cpus <= 100'000)) return bad("cpus", text, "it must be a number such as 2 or 0.5");
  return static_cast<u64>(std::llround(cpus * 1000));
}

Result<> limits_from_options(const Parsed& options, DomainLimits& limits) {
  TRY(take_size(options, "memory", limits.memory));
  if (options.has("memory") && limits.memory < 512 * KiB) return too_little("memory", options.last("memory"), limits.memory);
  if (options.has("cpus")) {
    TRY_ASSIGN(limits.cpu_thousandths, cpu_thousandths(options.last("cpus")));
  }
  return other_limits_from_options(options, limits);
}

Result<> other_limits_from_options(const Parsed& options, DomainLimits& limits) {
  TRY(take_size(options, "memory-reservation", limits.memory_reservation));
  if (options.has("memory-reservation") && limits.memory_reservation < 512 * KiB) {
    return too_little("memory-reservation", options.last("memory-reservation"), limits.memory_reservation);
  }
  if (options.last("memory-swap") == "-1") {
    limits.memory_swap = -1;
  } else {
    TRY(take_size(options, "memory-swap", limits.memory_swap));
  }
  TRY(take_number(options, "cpu-shares", limits.cpu_shares));
  if (options.has("cpuset-cpus")) limits.cpuset_cpus = options.last("cpuset-cpus");
  if (options.has("cpuset-mems")) limits.cpuset_mems = options.last("cpuset-mems");
  TRY(take_number(options, "pids-limit", limits.pids));
  TRY(take_number(options, "blkio-weight", limits.blkio_weight));
  for (const auto& [key, list] : {std::pair{"device-read-bps", &limits.read_bps}, {"device-write-bps", &limits.write_bps}}) {
    for (const std::string& text : options.all(key)) {
      const std::size_t colon = text.rfind(':');
      if (colon == std::string::npos) return bad(key, text, "write DEVICE:RATE");
      auto rate = parse_size(text.substr(colon + 1));
      if (!rate) return std::unexpected(std::move(rate.error()).within(fmt::format("--{} {}", key, text)));
      list->push_back(fmt::format("{}:{}", text.substr(0, colon), *rate));
    }
  }
  for (const auto& [key, list] : {std::pair{"device-read-iops", &limits.read_iops}, {"device-write-iops", &limits.write_iops}}) {
    if (options.has(key)) *list = options.all(key);
  }
  return limits.validate();
}

Result<> take_health(const Parsed& options, image::HealthCheck& out) {
  if (options.has("health-cmd")) out.test = {"CMD-SHELL", options.last("health-cmd")};
  if (options.has("no-healthcheck")) {
    if (!out.test.empty()) return fail("--no-healthcheck", "--health-cmd names one", "leave one of them out");
    out.test = {"NONE"};
  }
  for (const auto& [key, value] : {std::pair{"health-interval", &out.interval_ms}, {"health-timeout", &out.timeout_ms}, {"health-start-period", &out.start_period_ms}}) {
    if (!options.has(key)) continue;
    auto time = parse_duration_ms(options.last(key));
    if (!time) return std::unexpected(std::move(time.error()).within(fmt::format("--{}", key)));
    *value = *time;
  }
  return take_number(options, "health-retries", out.retries);
}

Result<ContainerDefinition> definition_from_options(const Parsed& options) {
  ContainerDefinition out;
  const std::vector<std::string>& words = options.all("IMAGE");
  out.image_name = words[0];
  out.command.assign(words.begin() + 1, words.end());
  out.name = options.last("name");
  out.hostname = options.last("hostname");
  out.workdir = options.last("workdir");
  out.user = options.last("user");
  out.terminal = options.has("tty");
  out.interactive = options.has("interactive");
  out.remove = options.has("rm");
  out.system = options.has("init");
  out.reaper = !options.has("no-reaper") && !out.system;
  if (options.has("entrypoint")) {
    out.entrypoint.emplace();
    if (!options.last("entrypoint").empty()) out.entrypoint->push_back(options.last("entrypoint"));
  }
  TRY(take_environment(options, out));
  TRY(take_labels(options, out));
  out.stop_signal = options.last("stop-signal");
  TRY(take_number(options, "stop-timeout", out.stop_timeout));
  TRY(take_health(options, out.health));
  if (options.has("restart")) {
    TRY_ASSIGN(out.restart, domain::RestartPolicy::parse(options.last("restart")));
    if (out.remove && out.restart.when != domain::RestartPolicy::When::no) return fail("--rm and --restart", "what is removed when it ends cannot be started again", "leave one of them out");
  }
  TRY(limits_from_options(options, out.limits));
  TRY(take_size(options, "shm-size", out.shm_size));
  out.ulimits = options.all("ulimit");
  out.sysctls = options.all("sysctl");
  out.cap_add = options.all("cap-add");
  out.cap_drop = options.all("cap-drop");
  out.security = options.all("security-opt");
  out.privileged = options.has("privileged");
  out.read_only = options.has("read-only");
  const char* const driver = std::getenv("NAGAYA_STORAGE_DRIVER");
  out.storage_driver = options.has("storage-driver") || driver == nullptr ? options.last("storage-driver") : driver;
  TRY(take_namespaces(options, out));
  out.devices = options.all("device");
  TRY(take_volumes(options, out));
  out.tmpfs = options.all("tmpfs");
  out.networks = options.all("network");
  out.publish = options.all("publish");
  out.publish_all = options.has("publish-all");
  out.dns = options.all("dns");
  out.add_hosts = options.all("add-host");
  return out;
}

}  // namespace nagaya::cli
