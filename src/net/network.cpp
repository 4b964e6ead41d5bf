#include "net/network.hpp"

#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>

#include "base/scope.hpp"
#include "host/dirs.hpp"
#include "host/fd.hpp"
#include "proto/device_config.hpp"
#include "proto/json_fields.hpp"

namespace nagaya::net {
namespace {

constexpr std::array drivers = {std::pair{Driver::user, "user"}, std::pair{Driver::isolated, "isolated"}, std::pair{Driver::bridge, "bridge"},
                                std::pair{Driver::none, "none"}};
constexpr u64 longest_definition = 64 * KiB;
constexpr std::size_t longest_name = 40;  // it becomes part of a socket's path and of a table's name

Result<> make_folder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return fail_errno(fmt::format("cannot make the folder '{}'", path), error.value());
  return {};
}

Network built_in(const char* name) { return {.name = name, .driver = std::string_view(name) == "none" ? Driver::none : Driver::user}; }

}  // namespace

std::string_view driver_name(Driver driver) {
  for (const auto& [value, name] : drivers) {
    if (value == driver) return name;
  }
  return "?";
}

Result<Driver> parse_driver(std::string_view text) {
  for (const auto& [value, name] : drivers) {
    if (text == name && value != Driver::none) return value;
  }
  return fail(fmt::format("'{}' is no driver of networks", text), {}, "user, isolated or bridge");
}

Result<> Network::validate() const {
  const auto bad = [&](std::string why, std::string hint = {}) { return fail(fmt::format("network '{}'", name), std::move(why), std::move(hint)); };
  if (!proto::plain_name(name) || name.size() > longest_name) {
    return bad("this is no name for a network", fmt::format("letters, digits, '-', '_' and '.', at most {}", longest_name));
  }
  if (mtu != 0 && (mtu < 576 || mtu > 65520)) return bad("the MTU must be from 576 to 65520");
  if (driver == Driver::bridge && mtu > 1500) return bad("a bridge's MTU is at most 1500: what leaves the host must fit the world's");
  if (subnet.prefix > 28) return bad(fmt::format("the subnet {} is too small", subnet.text()), "/28 is the least");
  if (internal && driver != Driver::user && driver != Driver::bridge) return bad("only user and bridge networks can be internal; isolated ones are anyway");
  if (!host_loopback && driver != Driver::user) return bad("the host's loopback is in reach of user networks only");
  return {};
}

std::string Network::to_json() const {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  out["name"] = name;
  out["driver"] = driver_name(driver);
  if (driver == Driver::user || driver == Driver::bridge) {
    out["subnet"] = subnet.text();
    out["gateway"] = gateway().text();
    out["internal"] = internal;
  }
  if (driver == Driver::user) {
    out["host-loopback"] = host_loopback;
    out["ip6"] = ip6;
  }
  if (driver != Driver::none) out["mtu"] = effective_mtu();
  return proto::print(out, 2);
}

Result<Network> Network::from_json(std::string_view text) {
  TRY_ASSIGN(const auto object, proto::parse_object(text, "network"));
  proto::Fields fields(object, "network");
  Network out;
  std::string driver, subnet, gateway;
  fields.text("name", out.name);
  fields.text("driver", driver);
  const bool has_subnet = fields.text("subnet", subnet);
  fields.text("gateway", gateway);  // follows from the subnet; shown for people
  fields.flag("internal", out.internal);
  fields.flag("host-loopback", out.host_loopback);
  fields.flag("ip6", out.ip6);
  fields.number("mtu", out.mtu);
  TRY(fields.finish());
  TRY_ASSIGN(out.driver, parse_driver(driver));
  if (has_subnet) {
    TRY_ASSIGN(out.subnet, Net4::parse(subnet));
  }
  TRY(out.validate());
  return out;
}

NetworkStore::NetworkStore() : NetworkStore(host::state_dir() + "/networks", host::runtime_dir() + "/net") {}

Result<std::vector<Network>> NetworkStore::list(std::vector<std::string>* unreadable) const {
  std::vector<Network> out = {built_in("user"), built_in("none")};
  std::error_code error;
  for (std::filesystem::directory_iterator it(state_, error), end; !error && it != end; it.increment(error)) {
    const std::string file = it->path().filename().string();
    if (!file.ends_with(".json") || file.starts_with('.')) continue;
    auto network = find(file.substr(0, file.size() - 5));
    if (network) {
      out.push_back(std::move(*network));
    } else if (unreadable != nullptr) {
      unreadable->push_back(network.error().message());
    }
  }
  if (error && error.value() != ENOENT) return fail_errno(fmt::format("cannot read the folder '{}'", state_), error.value());
  std::ranges::sort(out, {}, &Network::name);
  return out;
}

Result<Network> NetworkStore::find(const std::string& name) const {
  if (name == "user") return built_in("user");
  if (name == "none") return built_in("none");
  if (!proto::plain_name(name)) return fail(fmt::format("'{}' is no name for a network", name));
  auto bytes = host::read_file(path_of(name), longest_definition);
  if (!bytes && bytes.error().code == ENOENT) {
    Error none{fmt::format("there is no network '{}'", name), {}, "'nagaya network ls' shows them, 'nagaya network create' makes one"};
    none.code = ENOENT;
    return std::unexpected(std::move(none));
  }
  if (!bytes) return std::unexpected(std::move(bytes).error());
  auto out = Network::from_json({reinterpret_cast<const char*>(bytes->data()), bytes->size()});
  if (!out) return std::unexpected(std::move(out).error().within(path_of(name)));
  if (out->name != name) return fail(path_of(name), "it holds another network's definition");
  return out;
}

Result<> NetworkStore::create(const Network& network) const {
  TRY(network.validate());
  if (network.built_in()) return fail(fmt::format("the network '{}' is built in", network.name), {}, "take another name");
  TRY(make_folder(state_));
  const std::string path = path_of(network.name), text = network.to_json() + "\n";
  // Written beside, then linked under its name: complete or absent, and never over another.
  const std::string draft = fmt::format("{}/.{}.{}", state_, network.name, ::getpid());
  ScopeExit remove_draft([&] { ::unlink(draft.c_str()); });
  {
    TRY_ASSIGN(const host::Fd file, host::Fd::open(draft, O_WRONLY | O_CREAT | O_TRUNC, 0644));
    TRY(host::write_all(file.get(), text));
    if (::fsync(file.get()) != 0) return fail_errno(fmt::format("cannot write '{}'", path));
  }
  if (::link(draft.c_str(), path.c_str()) == 0) return {};
  if (errno == EEXIST) return fail(fmt::format("there is a network '{}' already", network.name), {}, fmt::format("'nagaya network rm {}' removes it", network.name));
  return fail_errno(fmt::format("cannot write '{}'", path));
}

Result<> NetworkStore::remove(const std::string& name) const {
  if (::unlink(path_of(name).c_str()) != 0 && errno != ENOENT) return fail_errno(fmt::format("cannot remove '{}'", path_of(name)));
  std::error_code ignored;
  std::filesystem::remove_all(runtime_ + "/" + name, ignored);
  return {};
}

Result<std::string> NetworkStore::runtime_folder(const std::string& name) const {
  const std::string out = runtime_ + "/" + name;
  TRY(make_folder(out));
  // dnsmasq, which is not root, reads its list of hosts there; sockets have their own permissions.
  (void)::chmod(out.c_str(), 0755);
  return out;
}

Result<Net4> NetworkStore::free_subnet() const {
  TRY_ASSIGN(const auto networks, list());
  std::vector<Ip4> here;
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) == 0) {
    for (const ifaddrs* a = first; a != nullptr; a = a->ifa_next) {
      if (a->ifa_addr == nullptr || a->ifa_addr->sa_family != AF_INET) continue;
      here.push_back({ntohl(reinterpret_cast<const sockaddr_in*>(a->ifa_addr)->sin_addr.s_addr)});
    }
    ::freeifaddrs(first);
  }
  for (u32 i = 0; i < 256; ++i) {
    const Net4 candidate{{0x0a590000 + (i << 8)}, 24};
    const bool taken = std::ranges::any_of(networks, [&](const Network& n) { return n.driver == Driver::bridge && n.subnet.overlaps(candidate); }) ||
                       std::ranges::any_of(here, [&](Ip4 a) { return candidate.contains(a); });
    if (!taken) return candidate;
  }
  return fail("no subnet of 10.89.0.0/16 is free", {}, "state one with --subnet");
}

}  // namespace nagaya::net
