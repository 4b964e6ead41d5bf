#include "domain/container_definition.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "container/id_map.hpp"
#include "domain/container_health.hpp"
#include "domain/container_join.hpp"
#include "domain/container_storage.hpp"
#include "domain/limits_fields.hpp"
#include "net/port_spec.hpp"
#include "proto/device_config.hpp"
#include "proto/json_fields.hpp"

namespace nagaya::domain {
namespace {

constexpr std::size_t most_words = 4096, longest_text = 128 * KiB;

bool absolute(const std::string& path) { return path.starts_with('/') && path.find('\0') == std::string::npos; }

Result<> check_words(const char* key, const std::vector<std::string>& words) {
  if (words.size() > most_words) return fail(key, fmt::format("more than {}", most_words));
  for (const std::string& word : words) {
    if (word.find('\0') != std::string::npos || word.size() > longest_text) return fail(key, "too long, or with a zero byte");
  }
  return {};
}

template <class T>
bool whole_number(std::string_view text, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

bool cpu_list(const std::string& text) {
  return text.size() <= 4096 && std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || c == ',' || c == '-'; });
}

/// One place that names every member: for writing, for reading, in the order of the file.
template <class Archive, class D>
void members(Archive& a, D& d) {
  a.text("name", d.name);
  a.text("id", d.id);
  a.text("image", d.image);
  a.text("image_name", d.image_name);
  a.text("created", d.created);
  a.map("labels", d.labels);
  a.maybe_texts("entrypoint", d.entrypoint);
  a.texts("command", d.command);
  a.texts("env", d.env);
  a.text("workdir", d.workdir);
  a.text("user", d.user);
  a.text("hostname", d.hostname);
  a.flag("terminal", d.terminal);
  a.flag("interactive", d.interactive);
  a.flag("system", d.system);
  a.flag("reaper", d.reaper);
  a.text("stop_signal", d.stop_signal);
  a.number("stop_timeout", d.stop_timeout);
  a.restart("restart", d.restart);
  a.texts("health_test", d.health.test);
  a.number("health_interval_ms", d.health.interval_ms);
  a.number("health_timeout_ms", d.health.timeout_ms);
  a.number("health_start_period_ms", d.health.start_period_ms);
  a.number("health_retries", d.health.retries);
  a.flag("remove", d.remove);
  a.flag("autostart", d.autostart);
  a.number("memory", d.limits.memory);
  limits_members(a, d.limits);
  a.number("shm_size", d.shm_size);
  a.texts("ulimits", d.ulimits);
  a.texts("sysctls", d.sysctls);
  a.texts("cap_add", d.cap_add);
  a.texts("cap_drop", d.cap_drop);
  a.texts("security", d.security);
  a.flag("privileged", d.privileged);
  a.flag("read_only", d.read_only);
  a.text("storage_driver", d.storage_driver);
  a.text("userns", d.userns);
  a.text("pid", d.pid);
  a.text("ipc", d.ipc);
  a.text("uts", d.uts);
  a.text("cgroupns", d.cgroupns);
  a.texts("devices", d.devices);
  a.volumes("volumes", d.volumes);
  a.texts("tmpfs", d.tmpfs);
  a.texts("networks", d.networks);
  a.texts("publish", d.publish);
  a.flag("publish_all", d.publish_all);
  a.texts("dns", d.dns);
  a.texts("add_hosts", d.add_hosts);
}

/// What has the value of an untouched definition is left out.
struct Writer {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();

  void text(const char* key, const std::string& value) {
    if (!value.empty()) out[key] = value;
  }
  void texts(const char* key, const std::vector<std::string>& values) {
    if (!values.empty()) out[key] = values;
  }
  void maybe_texts(const char* key, const std::optional<std::vector<std::string>>& values) {
    if (values) out[key] = *values;
  }
  void map(const char* key, const std::map<std::string, std::string>& values) {
    for (const auto& [name, value] : values) out[key][name] = value;
  }
  void flag(const char* key, bool value) { out[key] = value; }
  template <class T>
  void number(const char* key, T value) {
    if (value != 0 || std::string_view(key) == "stop_timeout") out[key] = value;
  }
  void restart(const char* key, const RestartPolicy& policy) { out[key] = policy.text(); }
  void volumes(const char* key, const std::vector<ContainerVolume>& values) {
    for (const ContainerVolume& volume : values) {
      nlohmann::ordered_json item = {{"source", volume.source}, {"target", volume.target}, {"readonly", volume.read_only}};
      if (!volume.options.empty()) item["options"] = volume.options;
      out[key].push_back(std::move(item));
    }
  }
};

struct Reader {
  proto::Fields& fields;

  void text(const char* key, std::string& value) { fields.text(key, value); }
  void texts(const char* key, std::vector<std::string>& values) { fields.texts(key, values); }
  void maybe_texts(const char* key, std::optional<std::vector<std::string>>& values) {
    std::vector<std::string> given;
    const auto* found = fields.take(key);
    if (found == nullptr) return;
    fields.texts(key, given);
    values = std::move(given);
  }
  void map(const char* key, std::map<std::string, std::string>& values) {
    const auto* found = fields.take(key);
    if (found == nullptr) return;
    if (!found->is_object()) return fields.wrong(key, "an object of strings");
    for (const auto& [name, value] : found->items()) {
      if (!value.is_string()) return fields.wrong(key, "an object of strings");
      values[name] = value.template get<std::string>();
    }
  }
  void flag(const char* key, bool& value) { fields.flag(key, value); }
  template <class T>
  void number(const char* key, T& value) {
    fields.number(key, value);
  }
  void restart(const char* key, RestartPolicy& policy) {
    std::string given;
    if (!fields.text(key, given)) return;
    if (auto parsed = RestartPolicy::parse(given)) {
      policy = *parsed;
    } else {
      fields.note(parsed.error().message());
    }
  }
  void volumes(const char* key, std::vector<ContainerVolume>& values) {
    const auto* found = fields.take(key);
    if (found == nullptr) return;
    if (!found->is_array()) return fields.wrong(key, "a list");
    for (const auto& item : *found) {
      if (!item.is_object()) return fields.wrong(key, "a list of objects");
      proto::Fields inner(item, key);
      ContainerVolume& volume = values.emplace_back();
      inner.text("source", volume.source);
      inner.text("target", volume.target);
      inner.flag("readonly", volume.read_only);
      inner.texts("options", volume.options);
      if (auto done = inner.finish(); !done) fields.note(done.error().message());
    }
  }
};

Result<> check_volumes(const std::vector<ContainerVolume>& volumes) {
  for (const ContainerVolume& volume : volumes) {
    const auto bad = [&](const char* why) { return fail(fmt::format("volume '{}:{}'", volume.source, volume.target), why); };
    if (!absolute(volume.target) || volume.target == "/") return bad("the place inside must be an absolute path, and not '/'");
    if (!volume.source.empty() && !absolute(volume.source) && !proto::plain_name(volume.source)) return bad("the source is neither an absolute path nor a name");
  }
  return {};
}

/// The network of another container has its cards, ports, names and name servers.
Result<> check_joined_networks(const ContainerDefinition& definition) {
  for (const std::string& network : definition.networks) {
    const auto joined = joined_name(network);
    if (!joined) continue;
    const auto bad = [&](const char* why) { return fail(fmt::format("network '{}'", network), why); };
    if (!proto::plain_name(*joined)) return bad("write container:NAME");
    if (definition.networks.size() > 1) return bad("other networks are named, too");
    if (!definition.publish.empty() || definition.publish_all) return bad("ports are published by the container that is joined");
    if (!definition.dns.empty() || !definition.add_hosts.empty()) return bad("names and name servers are those of the container that is joined");
  }
  if (joins_others(definition) && !definition.userns.empty() && definition.userns != "host") {
    return fail(fmt::format("user namespace '{}'", definition.userns), "who joins another container has its users");
  }
  return {};
}

}  // namespace

std::string RestartPolicy::text() const {
  switch (when) {
    case When::on_failure: return retries == 0 ? "on-failure" : fmt::format("on-failure:{}", retries);
    case When::always: return "always";
    case When::unless_stopped: return "unless-stopped";
    case When::no: break;
  }
  return "no";
}

Result<RestartPolicy> RestartPolicy::parse(std::string_view text) {
  RestartPolicy out;
  const std::size_t colon = text.find(':');
  const std::string_view word = text.substr(0, colon);
  if (word == "on-failure") {
    out.when = When::on_failure;
    if (colon == std::string_view::npos || whole_number(text.substr(colon + 1), out.retries)) return out;
  } else if (colon == std::string_view::npos && (word == "no" || word == "always" || word == "unless-stopped")) {
    out.when = word == "no" ? When::no : word == "always" ? When::always : When::unless_stopped;
    return out;
  }
  return fail(fmt::format("restart policy '{}'", text), "it is one of no, on-failure[:TIMES], always, unless-stopped");
}

Result<> DomainLimits::validate() const {
  constexpr u64 least_memory = 512 * KiB, most_memory = u64{1} << 50;
  if (memory != 0 && (memory < least_memory || memory > most_memory)) return fail("memory limit", "it is from 512 KiB to 1 PiB");
  if (memory_reservation > most_memory || (memory != 0 && memory_reservation > memory)) return fail("memory reservation", "it is above the limit");
  if (memory_swap < -1 || (memory_swap > 0 && static_cast<u64>(memory_swap) < memory)) {
    return fail("memory and swap", "together they are less than the memory alone", "give the sum of both, or -1 for no limit");
  }
  if (memory_swap != 0 && memory == 0) return fail("memory and swap", "a limit of both needs one of memory");
  if (cpu_thousandths > 4096'000 || (cpu_thousandths != 0 && cpu_thousandths < 10)) return fail("CPUs", "from 0.01 to 4096");
  if (cpu_shares != 0 && (cpu_shares < 2 || cpu_shares > 262144)) return fail("CPU shares", "from 2 to 262144");
  if (!cpu_list(cpuset_cpus) || !cpu_list(cpuset_mems)) return fail("list of CPUs or nodes", "write it like 0-3,7");
  if (pids < -1 || pids > 4194304) return fail("limit of processes", "from 1 to 4194304, or -1 for none");
  if (blkio_weight != 0 && (blkio_weight < 10 || blkio_weight > 1000)) return fail("block I/O weight", "from 10 to 1000");
  return {};
}

Result<> ContainerDefinition::validate() const {
  if (!proto::plain_name(name)) return fail(fmt::format("container '{}'", name), "a name has letters, digits, '-', '_' and '.', and begins with none of the last three");
  if (image.empty()) return fail(fmt::format("container '{}'", name), "it has no image");
  TRY(limits.validate());
  for (const auto& [key, words] : {std::pair{"command", &command}, {"env", &env}, {"networks", &networks}, {"publish", &publish}, {"tmpfs", &tmpfs},
                                   {"devices", &devices}, {"ulimits", &ulimits}, {"sysctls", &sysctls}, {"security", &security}, {"dns", &dns},
                                   {"add_hosts", &add_hosts}}) {
    TRY(check_words(key, *words));
  }
  for (const std::string& pair : env) {
    if (pair.find('=') == 0 || pair.find('=') == std::string::npos) return fail(fmt::format("'{}' in the environment", pair), "write NAME=VALUE");
  }
  if (!workdir.empty() && !absolute(workdir)) return fail(fmt::format("working folder '{}'", workdir), "it must be an absolute path");
  if (hostname.size() > 64 || hostname.find_first_of(std::string("\n\0/", 3)) != std::string::npos) return fail(fmt::format("host name '{}'", hostname), "at most 64 characters of a name");
  for (const std::string& port : publish) TRY(net::parse_port_spec(port));
  for (const std::string& place : tmpfs) {
    if (!absolute(place.substr(0, place.find(':')))) return fail(fmt::format("tmpfs '{}'", place), "it begins with an absolute path");
  }
  for (const std::string& entry : add_hosts) {
    const std::size_t colon = entry.find(':');
    if (colon == 0 || colon == std::string::npos || entry.find_first_of(" \t\n") != std::string::npos) return fail(fmt::format("host '{}'", entry), "write NAME:ADDRESS");
  }
  for (const std::string& server : dns) {
    if (server.empty() || server.find_first_of(" \t\n") != std::string::npos) return fail(fmt::format("DNS server '{}'", server), "it is one address");
  }
  for (const auto& [key, value] : {std::pair{"pid", &pid}, {"ipc", &ipc}, {"uts", &uts}}) {
    if (const auto joined = joined_name(*value)) {
      if (!proto::plain_name(*joined)) return fail(fmt::format("{} namespace '{}'", key, *value), "write container:NAME");
    } else if (!value->empty() && *value != "host" && *value != "private") {
      return fail(fmt::format("{} namespace '{}'", key, *value), "it is host, private or container:NAME");
    }
  }
  if (!cgroupns.empty() && cgroupns != "host" && cgroupns != "private") return fail(fmt::format("cgroupns namespace '{}'", cgroupns), "it is host or private");
  TRY(check_joined_networks(*this));
  TRY(check_words("health check", health.test));
  TRY(validate_health(health));
  if (userns == "auto" && system && !container::rootless()) return fail("user namespace 'auto'", "a whole system has none of its own yet");
  if (!userns.empty() && userns != "host" && userns != "auto") return fail(fmt::format("user namespace '{}'", userns), "it is host or auto");
  if (!storage_driver.empty() && !is_storage_driver(storage_driver)) return fail(fmt::format("storage driver '{}'", storage_driver), "it is overlay, fuse-overlayfs or vfs");
  if (remove && restart.when != RestartPolicy::When::no) return fail("a container that is removed at its end", "it cannot be restarted, too");
  return check_volumes(volumes);
}

std::string ContainerDefinition::to_json() const {
  Writer writer;
  members(writer, *this);
  return proto::print(writer.out, 2) + "\n";
}

Result<ContainerDefinition> ContainerDefinition::from_json(std::string_view text) {
  TRY_ASSIGN(const auto object, proto::parse_object(text, "container"));
  proto::Fields fields(object, "container");
  ContainerDefinition out;
  Reader reader{fields};
  members(reader, out);
  TRY(fields.finish());
  TRY(out.validate());
  return out;
}

Result<ContainerVolume> parse_volume(const std::string& text) {
  const auto bad = [&](const char* why) { return fail(fmt::format("-v {}", text), why, "write HOST:GUEST[:ro], NAME:GUEST or GUEST"); };
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == ':') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  ContainerVolume out;
  if (parts.size() > 3) return bad("it has too many parts");
  if (parts.size() == 1) {
    out.target = parts[0];
  } else {
    out.source = parts[0];
    out.target = parts[1];
    if (out.source.empty()) return bad("the source is missing");
  }
  if (!absolute(out.target) || out.target == "/") return bad("the place inside must be an absolute path, and not '/'");
  if (out.source.find('/') != std::string::npos || out.source.starts_with('.')) {
    std::error_code error;
    const auto host = std::filesystem::absolute(out.source, error);
    if (error) return bad("the working folder is gone");
    out.source = host.lexically_normal().string();
  } else if (!out.source.empty() && !proto::plain_name(out.source)) {
    return bad("the source is neither a path nor a name");
  }
  const std::string options = parts.size() == 3 ? parts[2] : "";
  for (std::size_t at = 0; at < options.size();) {
    const std::size_t end = std::min(options.find(',', at), options.size());
    const std::string option = options.substr(at, end - at);
    at = end + 1;
    if (option == "ro") {
      out.read_only = true;
    } else if (option == "z" || option == "Z" || option == "U" || option == "rw") {
      continue;  // labels of hosts with SELinux
    } else if (option == "noexec" || option == "nosuid" || option == "nodev" || option == "exec" || option == "suid" || option == "dev" ||
               option == "rshared" || option == "rslave" || option == "rprivate" || option == "shared" || option == "slave" || option == "private" ||
               option == "bind" || option == "rbind" || option == "idmap") {
      out.options.push_back(option);
    } else {
      return bad("after the second colon stand 'ro', 'rw' or mount options");
    }
  }
  return out;
}

}  // namespace nagaya::domain
