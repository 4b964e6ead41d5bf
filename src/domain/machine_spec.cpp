#include "domain/machine_spec.hpp"

#include <algorithm>
#include <filesystem>

#include "domain/limits_fields.hpp"
#include "proto/json_fields.hpp"
#include "proto/vm_config.hpp"

namespace nagaya::domain {
namespace {

constexpr std::size_t most_words = 4096, longest_text = 512 * KiB, most_shares = 16;

bool absolute(const std::string& path) { return path.starts_with('/') && path.find('\0') == std::string::npos; }

Result<> check_hostname(const std::string& name) {
  const bool good = name.size() <= 63 && !name.starts_with('-') && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
  });
  if (good) return {};
  return fail(fmt::format("host name '{}'", name), "at most 63 letters, digits, '-' and '.'");
}

Result<> check_words(const char* key, const std::vector<std::string>& words) {
  if (words.size() > most_words) return fail(key, fmt::format("more than {}", most_words));
  for (const std::string& word : words) {
    if (word.find('\0') != std::string::npos || word.size() > longest_text) return fail(key, "too long, or with a zero byte");
  }
  return {};
}

/// Only what is set.
struct LimitsWriter {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  template <class T>
  void number(const char* key, T value) {
    if (value != 0) out[key] = value;
  }
  void text(const char* key, const std::string& value) {
    if (!value.empty()) out[key] = value;
  }
  void texts(const char* key, const std::vector<std::string>& values) {
    if (!values.empty()) out[key] = values;
  }
};

Result<MachineShare> share_from(const nlohmann::json& value) {
  if (!value.is_object()) return fail("shares", "each must be an object");
  proto::Fields fields(value, "shares");
  MachineShare out;
  fields.text("host", out.host);
  fields.text("guest", out.guest);
  fields.flag("readonly", out.read_only);
  TRY(fields.finish());
  return out;
}

/// What the machine's own configuration would refuse is refused when it is made, not when it starts.
Result<> check_machine(const MachineSpec& spec) {
  proto::VmConfig config;
  config.name = spec.name;
  config.memory = spec.memory;
  config.vcpus = spec.vcpus;
  config.engine = spec.engine;
  config.cpu = spec.cpu;
  config.kernel = "kernel";
  config.append = spec.append;
  config.numa_node = spec.numa_node;
  static_cast<proto::DeviceConfig&>(config) = spec.devices;
  return config.validate();
}

}  // namespace

Result<> MachineSpec::validate() const {
  TRY(check_machine(*this));
  TRY(limits.validate());
  if (image.empty()) return fail(fmt::format("machine '{}'", name), "it has no image");
  TRY(check_hostname(hostname));
  for (const auto& [key, words] : {std::pair{"ssh_keys", &ssh_keys}, {"publish", &publish}, {"networks", &networks},
                                   {"command", &command}, {"env", &env}}) {
    TRY(check_words(key, *words));
  }
  for (const std::string& key : ssh_keys) {
    if (key.find('\n') != std::string::npos) return fail("SSH key", "a key is one line");
  }
  for (const std::string& pair : env) {
    if (pair.find('=') == 0 || pair.find('=') == std::string::npos) return fail(fmt::format("'{}' in the environment", pair), "write NAME=VALUE");
  }
  if (user_data.size() > longest_text) return fail("user data", "longer than 512 KiB");
  if (shares.size() > most_shares) return fail("shares", "more than 16");
  for (const MachineShare& share : shares) {
    if (!absolute(share.host) || !absolute(share.guest) || share.guest == "/") {
      return fail(fmt::format("share '{}:{}'", share.host, share.guest), "both paths must be absolute, and the guest's not '/'");
    }
  }
  if (!workdir.empty() && !absolute(workdir)) return fail(fmt::format("working folder '{}'", workdir), "it must be an absolute path");
  return {};
}

std::string MachineSpec::to_json() const {
  nlohmann::ordered_json out = {{"name", name}, {"image", image}};
  const auto text = [&](const char* key, const std::string& value) {
    if (!value.empty()) out[key] = value;
  };
  const auto texts = [&](const char* key, const std::vector<std::string>& values) {
    if (!values.empty()) out[key] = values;
  };
  text("image_name", image_name);
  text("created", created);
  out["memory"] = memory;
  out["vcpus"] = vcpus;
  out["engine"] = engine;
  out["cpu"] = cpu;
  if (disk_size != 0) out["disk_size"] = disk_size;
  text("hostname", hostname);
  texts("ssh_keys", ssh_keys);
  text("user_data", user_data);
  for (const MachineShare& share : shares) {
    out["shares"].push_back({{"host", share.host}, {"guest", share.guest}, {"readonly", share.read_only}});
  }
  texts("publish", publish);
  texts("networks", networks);
  LimitsWriter limited;
  limited.number("memory", limits.memory);
  limits_members(limited, limits);
  if (!limited.out.empty()) out["limits"] = std::move(limited.out);
  if (numa_node) out["numa_node"] = *numa_node;
  text("append", append);
  auto more = nlohmann::ordered_json::object();
  proto::put_devices(more, devices);
  out["devices"] = std::move(more);
  texts("command", command);
  if (entrypoint) out["entrypoint"] = *entrypoint;
  texts("env", env);
  text("workdir", workdir);
  text("user", user);
  return proto::print(out, 2) + "\n";
}

Result<MachineSpec> MachineSpec::from_json(std::string_view text) {
  TRY_ASSIGN(const auto object, proto::parse_object(text, "machine"));
  proto::Fields fields(object, "machine");
  MachineSpec out;
  fields.text("name", out.name);
  fields.text("image", out.image);
  fields.text("image_name", out.image_name);
  fields.text("created", out.created);
  fields.number("memory", out.memory);
  fields.number("vcpus", out.vcpus);
  fields.text("engine", out.engine);
  fields.text("cpu", out.cpu);
  fields.number("disk_size", out.disk_size);
  fields.text("hostname", out.hostname);
  fields.texts("ssh_keys", out.ssh_keys);
  fields.text("user_data", out.user_data);
  if (const auto* list = fields.take("shares")) {
    if (!list->is_array()) return fail("shares", "it must be a list");
    for (const auto& item : *list) {
      TRY_ASSIGN(MachineShare share, share_from(item));
      out.shares.push_back(std::move(share));
    }
  }
  fields.texts("publish", out.publish);
  fields.texts("networks", out.networks);
  if (const auto* more = fields.take("limits")) {
    if (!more->is_object()) return fail("limits", "it must be an object");
    proto::Fields inner(*more, "limits");
    inner.number("memory", out.limits.memory);
    limits_members(inner, out.limits);
    TRY(inner.finish());
  }
  if (unsigned node = 0; fields.number("numa_node", node)) out.numa_node = node;
  fields.text("append", out.append);
  if (const auto* more = fields.take("devices")) {
    if (!more->is_object()) return fail("devices", "it must be an object");
    proto::Fields inner(*more, "devices");
    TRY(proto::take_devices(inner, out.devices));
    TRY(inner.finish());
  }
  fields.texts("command", out.command);
  if (std::string entrypoint; fields.text("entrypoint", entrypoint)) out.entrypoint = std::move(entrypoint);
  fields.texts("env", out.env);
  fields.text("workdir", out.workdir);
  fields.text("user", out.user);
  TRY(fields.finish());
  TRY(out.validate());
  return out;
}

Result<MachineShare> parse_share(const std::string& text) {
  const auto bad = [&](const char* why) { return fail(fmt::format("-v {}", text), why, "write HOST:GUEST or HOST:GUEST:ro"); };
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == ':') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  if (parts.size() < 2 || parts.size() > 3 || parts[0].empty()) return bad("it does not name two places");
  if (parts.size() == 3 && parts[2] != "ro" && parts[2] != "rw") return bad("after the second colon stands 'ro' or 'rw'");
  if (!parts[1].starts_with('/')) return bad("the guest's path must be absolute");
  std::error_code error;
  const auto host = std::filesystem::absolute(parts[0], error);
  if (error) return bad("the working folder is gone");
  return MachineShare{host.lexically_normal().string(), parts[1], parts.size() == 3 && parts[2] == "ro"};
}

}  // namespace nagaya::domain
