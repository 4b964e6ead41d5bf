#include "definition/objects.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>

#include "base/scope.hpp"
#include "domain/container_store.hpp"
#include "host/dirs.hpp"
#include "net/join.hpp"
#include "proto/device_config.hpp"
#include "proto/text.hpp"

namespace nagaya::definition {
namespace {

namespace fs = std::filesystem;
using net::Driver;

bool has_addresses(Driver driver) { return driver == Driver::user || driver == Driver::bridge; }

fs::path volumes_folder() { return fs::path(host::state_dir()) / "volumes"; }

/// Names of containers by the named volume that they have.
using Users = std::map<std::string, std::vector<std::string>>;

Users volume_users() {
  Users out;
  const auto containers = domain::ContainerStore().list();
  if (!containers) return out;
  for (const domain::Container& one : *containers) {
    for (const domain::ContainerVolume& volume : one.definition.volumes) {
      if (!volume.source.empty() && volume.source.find('/') == std::string::npos) out[volume.source].push_back(one.definition.name);
    }
  }
  return out;
}

std::optional<Json> volume_of(const std::string& name, const Users& users) {
  std::error_code error;
  const fs::path folder = volumes_folder() / name;
  if (!proto::plain_name(name) || !fs::is_directory(folder, error)) return {};
  Json out = {{"name", name}, {"project", "default"}, {"path", (folder / "data").string()}};
  const auto bytes = host::read_file((folder / "api.json").string(), 64 * KiB);
  const Json notes = bytes ? Json::parse(bytes->begin(), bytes->end(), nullptr, false) : Json();
  for (const char* key : {"project", "labels", "created"}) {
    if (notes.is_object() && notes.contains(key)) out[key] = notes[key];
  }
  if (const auto found = users.find(name); found != users.end()) out["usedBy"] = found->second;
  return out;
}

Result<> write_notes(const Json& volume, const std::string& created) {
  const Json notes = {{"project", volume.value("project", "default")}, {"labels", volume.value("labels", Json::object())}, {"created", created}};
  const std::string text = notes.dump(2) + "\n";
  return host::replace_file((volumes_folder() / volume.at("name").get<std::string>() / "api.json").string(), {reinterpret_cast<const u8*>(text.data()), text.size()});
}

}  // namespace

Result<net::Network> network_of(const Json& document, const std::optional<net::Network>& now) {
  net::Network out{.name = document.at("name")};
  TRY_ASSIGN(out.driver, net::parse_driver(document.value("driver", "user")));
  if (document.contains("subnet")) {
    if (!has_addresses(out.driver)) return std::unexpected(Error{"subnet", "an isolated network gives no addresses", {}, EINVAL});
    auto subnet = net::Net4::parse(document["subnet"].get<std::string>());
    if (!subnet) return std::unexpected(Error{"subnet", subnet.error().message(), {}, EINVAL});
    out.subnet = *subnet;
  } else if (now && now->driver == out.driver) {
    out.subnet = now->subnet;
  }
  out.mtu = document.value("mtu", 0u);
  out.internal = document.value("internal", false);
  out.host_loopback = document.value("hostLoopback", true);
  out.ip6 = document.value("ip6", true);
  // A bridge's subnet may still be to be chosen.
  if (auto ok = out.validate(); !ok && (out.driver != Driver::bridge || document.contains("subnet"))) {
    ok.error().code = EINVAL;
    return std::unexpected(std::move(ok.error()));
  }
  return out;
}

Json network_document(const net::Network& network) {
  Json out = {{"kind", "network"}, {"name", network.name}, {"driver", net::driver_name(network.driver)}};
  if (has_addresses(network.driver)) out["subnet"] = network.subnet.text();
  if (network.mtu != 0) out["mtu"] = network.mtu;
  if (network.internal) out["internal"] = true;
  if (!network.host_loopback) out["hostLoopback"] = false;
  if (!network.ip6) out["ip6"] = false;
  return out;
}

Result<> create_network(const net::NetworkStore& store, net::Network network, bool subnet_given) {
  if (network.driver == Driver::bridge) {
    if (!subnet_given) {
      TRY_ASSIGN(network.subnet, store.free_subnet());
    }
    TRY(net::bridge_possible());
  }
  TRY(store.create(network));
  if (network.driver != Driver::bridge) return {};
  ScopeExit undo([&] { (void)store.remove(network.name); });
  TRY_ASSIGN(const std::string folder, store.runtime_folder(network.name));
  TRY(net::bridge_up(network, folder));
  undo.release();
  return {};
}

Result<> remove_network(const net::NetworkStore& store, const std::string& name) {
  TRY_ASSIGN(const net::Network network, store.find(name));
  if (network.built_in()) return fail(fmt::format("the network '{}' is built in", name), "it cannot be removed");
  if (network.driver == Driver::bridge) {
    TRY_ASSIGN(const std::string folder, store.runtime_folder(name));
    TRY(net::bridge_down(network, folder));
  } else {
    TRY_ASSIGN(const bool used, net::in_use(store, network));
    if (used) return std::unexpected(Error{fmt::format("network '{}' is in use", name), "machines are on it", "stop them first", EBUSY});
  }
  return store.remove(name);
}

std::optional<Json> find_volume(const std::string& name) { return volume_of(name, volume_users()); }

std::vector<Json> all_volumes() {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(volumes_folder(), error)) {
    if (proto::plain_name(entry.path().filename().string())) names.push_back(entry.path().filename());
  }
  std::ranges::sort(names);
  const Users users = volume_users();
  std::vector<Json> out;
  for (const std::string& name : names) {
    if (auto one = volume_of(name, users)) out.push_back(std::move(*one));
  }
  return out;
}

Json volume_document(const Json& volume) {
  Json out = {{"kind", "volume"}, {"name", volume.at("name")}, {"project", volume.value("project", "default")}};
  if (const Json labels = volume.value("labels", Json::object()); !labels.empty()) out["labels"] = labels;
  return out;
}

Result<> create_volume(const Json& volume) {
  const std::string name = volume.at("name");
  if (!proto::plain_name(name)) return std::unexpected(Error{fmt::format("volume '{}'", name), "that is no name", {}, EINVAL});
  std::error_code error;
  fs::create_directories(volumes_folder(), error);
  // Whoever makes the folder has made the volume.
  if (!fs::create_directory(volumes_folder() / name, error)) {
    if (error) return fail(fmt::format("cannot make volume '{}'", name), error.message());
    return std::unexpected(Error{fmt::format("there is a volume '{}' already", name), {}, {}, EEXIST});
  }
  TRY(domain::ContainerStore().volume(name));
  return write_notes(volume, proto::now_text());
}

Result<> note_volume(const Json& volume) {
  const auto now = find_volume(volume.at("name"));
  if (!now) return std::unexpected(Error{fmt::format("there is no volume '{}'", volume.at("name").get<std::string>()), {}, {}, ENOENT});
  Json wanted = volume;
  if (!wanted.contains("project")) wanted["project"] = now->value("project", "default");
  return write_notes(wanted, now->value("created", proto::now_text()));
}

Result<> remove_volume(const std::string& name) {
  const auto now = find_volume(name);
  if (!now) return std::unexpected(Error{fmt::format("there is no volume '{}'", name), {}, {}, ENOENT});
  if (now->contains("usedBy")) {
    return std::unexpected(Error{fmt::format("volume '{}' is used by '{}'", name, (*now)["usedBy"][0].get<std::string>()), {}, {}, EBUSY});
  }
  std::error_code error;
  fs::remove_all(volumes_folder() / name, error);
  if (error) return fail(fmt::format("cannot remove volume '{}'", name), error.message());
  return {};
}

}  // namespace nagaya::definition
