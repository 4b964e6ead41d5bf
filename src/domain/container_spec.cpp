#include "domain/container_spec.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "container/id_map.hpp"
#include "container/security/security.hpp"
#include "container/spec/defaults.hpp"
#include "container/spec/parse.hpp"
#include "domain/container_join.hpp"
#include "host/fd.hpp"

namespace nagaya::domain {
namespace {

using container::Mount;
using container::Spec;

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> out;
  for (std::size_t start = 0; start <= text.size();) {
    const std::size_t end = std::min(text.find(at, start), text.size());
    out.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return out;
}

std::string upper(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  return text;
}

Result<std::vector<std::string>> capabilities(const ContainerDefinition& definition) {
  const std::vector<std::string> known = container::known_capabilities();
  std::vector<std::string> out = definition.privileged ? known : container::default_capabilities();
  // A whole system logs in, makes device nodes and pings.
  if (definition.system) {
    for (const char* more : {"CAP_AUDIT_WRITE", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SYS_TTY_CONFIG", "CAP_NET_ADMIN"}) out.push_back(more);
  }
  const auto named = [&](const std::string& word) -> Result<std::string> {
    std::string name = upper(word);
    if (!name.starts_with("CAP_")) name.insert(0, "CAP_");
    if (std::ranges::find(known, name) == known.end()) return fail(fmt::format("there is no capability '{}'", word));
    return name;
  };
  // Dropping comes first: --cap-drop ALL --cap-add CHOWN leaves one.
  for (const std::string& word : definition.cap_drop) {
    if (upper(word) == "ALL") {
      out.clear();
      continue;
    }
    TRY_ASSIGN(const std::string name, named(word));
    std::erase(out, name);
  }
  for (const std::string& word : definition.cap_add) {
    if (upper(word) == "ALL") {
      out = known;
      continue;
    }
    TRY_ASSIGN(std::string name, named(word));
    if (std::ranges::find(out, name) == out.end()) out.push_back(std::move(name));
  }
  return out;
}

Result<> set_security(const ContainerDefinition& definition, const std::vector<std::string>& caps, Spec& spec) {
  bool filter = !definition.privileged;
  for (const std::string& option : definition.security) {
    const std::size_t at = option.find_first_of("=:");
    const std::string key = option.substr(0, at), value = at == std::string::npos ? "" : option.substr(at + 1);
    if (key == "no-new-privileges" && (value.empty() || value == "true")) {
      spec.process->no_new_privileges = true;
    } else if (key == "seccomp" && value == "unconfined") {
      filter = false;
    } else if (key == "seccomp" && !value.empty()) {
      TRY_ASSIGN(const auto bytes, host::read_file(value, MiB));
      auto profile = container::parse_spec(fmt::format(R"({{"ociVersion":"1.1.0","root":{{"path":"x"}},"linux":{{"seccomp":{}}}}})",
                                                       std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size())));
      if (!profile) return std::unexpected(std::move(profile.error()).within(fmt::format("seccomp profile '{}'", value)));
      spec.linux.seccomp = profile->linux.seccomp;
    } else if (key == "apparmor" && !value.empty()) {
      spec.process->apparmor_profile = value == "unconfined" ? "" : value;
    } else if (key == "unmask" && value == "ALL") {
      spec.linux.masked_paths.clear();
      spec.linux.readonly_paths.clear();
    } else if (key == "mask" && value.starts_with('/')) {
      for (const std::string& path : split(value, ':')) spec.linux.masked_paths.push_back(path);
    } else if (key != "label") {  // labels belong to hosts with SELinux, which gives them itself
      return fail(fmt::format("security option '{}'", option), "known are seccomp=, no-new-privileges, apparmor=, mask=, unmask=ALL, label=");
    }
  }
  if (filter && !spec.linux.seccomp) spec.linux.seccomp = container::default_seccomp(caps);
  return {};
}

Result<> set_rlimits(const std::vector<std::string>& ulimits, Spec& spec) {
  for (const std::string& text : ulimits) {
    const auto parts = split(text, '=');
    const auto bad = [&] { return fail(fmt::format("limit '{}'", text), "write NAME=SOFT[:HARD], numbers or -1"); };
    if (parts.size() != 2 || parts[0].empty()) return bad();
    const auto values = split(parts[1], ':');
    const auto value = [](const std::string& word, u64& out) {
      if (word == "-1" || word == "unlimited") return out = ~u64{0}, true;
      const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), out);
      return error == std::errc{} && end == word.data() + word.size();
    };
    container::Rlimit limit{.type = "RLIMIT_" + upper(parts[0])};
    if (values.size() > 2 || !value(values[0], limit.soft) || !value(values.back(), limit.hard)) return bad();
    spec.process->rlimits.push_back(limit);
  }
  return {};
}

Result<> set_devices(const ContainerDefinition& definition, Spec& spec) {
  auto& rules = spec.linux.resources->devices;
  if (definition.privileged) {
    rules = {{.allow = true, .type = 'a', .major = {}, .minor = {}, .access = "rwm"}};
  } else {
    rules = container::default_device_rules();
  }
  for (const std::string& text : definition.devices) {
    const auto parts = split(text, ':');
    const bool has_access = parts.size() > 1 && !parts.back().starts_with('/');
    const std::string access = has_access ? parts.back() : "rwm";
    const std::string inside = parts.size() > 1 && parts[1].starts_with('/') ? parts[1] : parts[0];
    if (parts.size() > 3 || access.find_first_not_of("rwm") != std::string::npos || access.empty()) {
      return fail(fmt::format("device '{}'", text), "write /dev/HOST[:/dev/INSIDE][:rwm]");
    }
    struct stat info {};
    if (::stat(parts[0].c_str(), &info) != 0) return fail_errno(fmt::format("cannot find the device '{}'", parts[0]));
    if (!S_ISCHR(info.st_mode) && !S_ISBLK(info.st_mode)) return fail(fmt::format("'{}' is no device", parts[0]));
    const char type = S_ISBLK(info.st_mode) ? 'b' : 'c';
    const i64 major_number = major(info.st_rdev), minor_number = minor(info.st_rdev);
    spec.linux.devices.push_back({.type = type, .path = inside, .major = major_number, .minor = minor_number, .file_mode = info.st_mode & 07777,
                                  .uid = info.st_uid, .gid = info.st_gid});
    rules.push_back({.allow = true, .type = type, .major = major_number, .minor = minor_number, .access = access});
  }
  return {};
}

Mount bind_mount(std::string source, std::string target, bool read_only, std::vector<std::string> more = {}) {
  Mount out;
  out.destination = std::move(target);
  out.type = "bind";
  out.source = std::move(source);
  out.options = {"rbind", read_only ? "ro" : "rw"};
  if (std::ranges::none_of(more, [](const std::string& option) { return option.ends_with("shared") || option.ends_with("slave") || option.ends_with("private"); })) {
    more.insert(more.begin(), "rprivate");
  }
  out.options.insert(out.options.end(), more.begin(), more.end());
  return out;
}

Mount tmpfs(const std::string& target, std::vector<std::string> options) {
  Mount out;
  out.destination = target;
  out.type = "tmpfs";
  out.source = "tmpfs";
  out.options = std::move(options);
  return out;
}

void set_mounts(const ContainerDefinition& definition, const ContainerPlaces& places, bool host_network, Spec& spec) {
  auto& mounts = spec.mounts = container::default_mounts(definition.shm_size);
  const bool write_system = definition.privileged;
  for (Mount& mount : mounts) {
    if (write_system && (mount.type == "sysfs" || mount.type == "cgroup")) std::erase(mount.options, "ro");
    // A new sysfs shows the network namespace's devices; without one of its own only the host's can be shown.
    if (host_network && container::rootless() && mount.type == "sysfs") mount = bind_mount("/sys", "/sys", true);
  }
  if (definition.ipc == "host") {
    for (Mount& mount : mounts) {
      if (mount.destination == "/dev/shm" || mount.destination == "/dev/mqueue") mount = bind_mount(mount.destination, mount.destination, false);
    }
  }
  if (!places.shm.empty()) {
    for (Mount& mount : mounts) {
      if (mount.destination == "/dev/shm") mount = bind_mount(places.shm, mount.destination, false);
    }
  }
  if (definition.system) {
    // What systemd expects of its caller: https://systemd.io/CONTAINER_INTERFACE
    mounts.push_back(tmpfs("/run", {"nosuid", "nodev", "mode=755"}));
    mounts.push_back(tmpfs("/run/lock", {"nosuid", "nodev", "noexec", "mode=1777", "size=5m"}));
    mounts.push_back(tmpfs("/tmp", {"nosuid", "nodev", "mode=1777"}));
    spec.annotations.emplace_back(container::system_annotation, "true");
  }
  for (const auto& [source, target] : places.views) {
    Mount& view = mounts.emplace_back();
    view.destination = target;
    view.type = "bind";
    view.source = source;
    view.options = {"bind", "ro", "nosuid", "nodev", "noexec", "private"};
  }
  if (!places.reaper.empty()) mounts.push_back(bind_mount(places.reaper, "/run/.nagaya/init", true));
  if (!places.hosts.empty()) mounts.push_back(bind_mount(places.hosts, "/etc/hosts", definition.read_only));
  if (!places.resolv_conf.empty()) mounts.push_back(bind_mount(places.resolv_conf, "/etc/resolv.conf", definition.read_only));
  if (!places.hostname.empty()) mounts.push_back(bind_mount(places.hostname, "/etc/hostname", definition.read_only));
  for (const std::string& text : definition.tmpfs) {
    const std::size_t colon = text.find(':');
    std::vector<std::string> options = {"nosuid", "nodev", "noexec", "tmpcopyup"};
    if (colon != std::string::npos) {
      for (const std::string& option : split(text.substr(colon + 1), ',')) options.push_back(option);
    }
    mounts.push_back(tmpfs(text.substr(0, colon), std::move(options)));
  }
  // A volume replaces what else would be at its place; outer places come before those inside them.
  std::vector<ContainerVolume> volumes = places.volumes;
  std::ranges::stable_sort(volumes, {}, [](const ContainerVolume& volume) { return std::ranges::count(volume.target, '/'); });
  for (const ContainerVolume& volume : volumes) {
    std::erase_if(mounts, [&](const Mount& mount) { return mount.destination == volume.target; });
    mounts.push_back(bind_mount(volume.source, volume.target, volume.read_only, volume.options));
  }
}

Result<> set_namespaces(const ContainerDefinition& definition, const ContainerPlaces& places, bool host_network, Spec& spec) {
  using container::NamespaceKind;
  auto& spaces = spec.linux.namespaces;
  spaces.push_back({NamespaceKind::mount, {}});
  if (definition.pid != "host") spaces.push_back({NamespaceKind::pid, places.pid_namespace});
  if (!places.time_namespace.empty()) spaces.push_back({NamespaceKind::time, places.time_namespace});
  if (definition.ipc != "host") spaces.push_back({NamespaceKind::ipc, places.ipc_namespace});
  if (definition.uts != "host") spaces.push_back({NamespaceKind::uts, places.uts_namespace});
  if (definition.cgroupns != "host" && !definition.privileged) spaces.push_back({NamespaceKind::cgroup, {}});
  if (!host_network) spaces.push_back({NamespaceKind::network, places.network_namespace});
  // Others than root have their containers in a user namespace anyway.
  if (!places.uid_maps.empty()) {
    spaces.push_back({NamespaceKind::user, {}});
    spec.linux.uid_mappings = places.uid_maps;
    spec.linux.gid_mappings = places.gid_maps;
  }
  if (definition.uts != "host" && places.uts_namespace.empty()) spec.hostname = definition.hostname.empty() ? definition.name.substr(0, 64) : definition.hostname;
  return {};
}

}  // namespace

Result<Spec> container_spec(const ContainerDefinition& definition, const image::OciConfig& image, const ContainerUser& user,
                            const ContainerPlaces& places) {
  Spec spec;
  spec.oci_version = "1.1.0";
  spec.root_path = places.rootfs;
  spec.root_readonly = definition.read_only;
  auto& process = spec.process.emplace();
  process.terminal = definition.terminal;
  process.user = {.uid = user.uid, .gid = user.gid, .umask = 0022, .additional_gids = user.groups};
  TRY_ASSIGN(process.args, container_args(definition, image));
  if (!places.reaper.empty()) process.args.insert(process.args.begin(), {"/run/.nagaya/init", "--"});
  process.env = container_env(definition, image, user);
  process.cwd = !definition.workdir.empty() ? definition.workdir : !image.workdir.empty() ? image.workdir : "/";
  TRY_ASSIGN(const auto caps, capabilities(definition));
  // Another user than root gets them in its bounding set only, as after any change of user.
  const auto effective = user.uid == 0 ? caps : std::vector<std::string>{};
  process.capabilities = {.bounding = caps, .effective = effective, .inheritable = {}, .permitted = effective, .ambient = {}};
  if (!definition.privileged) {
    spec.linux.masked_paths = container::default_masked_paths();
    spec.linux.readonly_paths = container::default_readonly_paths();
  }
  TRY(set_rlimits(definition.ulimits, spec));
  TRY(set_security(definition, caps, spec));
  const bool host_network = std::ranges::find(definition.networks, "host") != definition.networks.end();
  TRY(set_namespaces(definition, places, host_network, spec));
  set_mounts(definition, places, host_network, spec);
  TRY_ASSIGN(spec.linux.resources, limits_as_resources(definition.limits));
  TRY(set_devices(definition, spec));
  if (container::rootless()) {
    // Without a cgroup of its own a container has the limits its user asked for or an error, but not the usual ones; and devices it could
    // misuse cannot be made in a user namespace.
    if (definition.limits.pids == 0) spec.linux.resources->pids_limit.reset();
    spec.linux.resources->devices.clear();
  }
  spec.linux.cgroups_path = places.cgroup;
  const bool joined_network = std::ranges::any_of(definition.networks, [](const std::string& network) { return joined_name(network).has_value(); });
  // The settings of another container's network are its own.
  if (!host_network && !joined_network) {
    // No packets but the user's own need a privilege for these two.
    // In a user namespace only its own groups can be named.
    const std::string groups = container::rootless() ? "0 0" : places.gid_maps.empty() ? "0 2147483647" : fmt::format("0 {}", places.gid_maps[0].size - 1);
    spec.linux.sysctl = {{"net.ipv4.ping_group_range", groups}, {"net.ipv4.ip_unprivileged_port_start", "0"}};
  }
  for (const std::string& text : definition.sysctls) {
    const std::size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos) return fail(fmt::format("sysctl '{}'", text), "write NAME=VALUE");
    std::erase_if(spec.linux.sysctl, [&](const auto& entry) { return entry.first == text.substr(0, equals); });
    spec.linux.sysctl.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  for (const auto& [key, value] : image.labels) spec.annotations.emplace_back(key, value);
  for (const auto& [key, value] : definition.labels) spec.annotations.emplace_back(key, value);
  return spec;
}

}  // namespace nagaya::domain
