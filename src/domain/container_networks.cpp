#include "domain/container_networks.hpp"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "domain/container_join.hpp"
#include "net/bridge.hpp"
#include "net/mac.hpp"

namespace nagaya::domain {
namespace {

constexpr const char* usual_bridge = "containers";

std::string host_name_of(const std::string& name) {
  std::string out = name.substr(0, 63);
  std::ranges::replace_if(out, [](char c) { return c == '_' || c == '.'; }, '-');
  return out;
}

/// A port of the host nobody listens on.
Result<u16> free_port(bool udp) {
  const host::Fd socket(::socket(AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  socklen_t size = sizeof address;
  if (!socket || ::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return fail_errno("cannot find a free port");
  }
  return ntohs(address.sin_port);
}

Result<std::vector<net::PortSpec>> ports_of(const ContainerDefinition& definition, const image::OciConfig& image) {
  std::vector<net::PortSpec> out;
  for (const std::string& text : definition.publish) {
    TRY_ASSIGN(const auto specs, net::parse_port_spec(text));
    out.insert(out.end(), specs.begin(), specs.end());
  }
  if (definition.publish_all) {
    for (const std::string& exposed : image.exposed_ports) {
      const bool udp = exposed.ends_with("/udp");
      TRY_ASSIGN(const u16 host, free_port(udp));
      TRY_ASSIGN(const auto specs, net::parse_port_spec(fmt::format("{}:{}", host, exposed)));
      out.insert(out.end(), specs.begin(), specs.end());
    }
  }
  if (out.size() > net::most_ports) return fail("too many ports are published", fmt::format("a container may publish {}", net::most_ports));
  return out;
}

bool can_publish(const net::Network& network) { return network.driver == net::Driver::user || network.driver == net::Driver::bridge; }

}  // namespace

Result<net::Network> default_container_network(const net::NetworkStore& store) {
  if (::geteuid() != 0 || !net::bridge_possible()) return store.find("user");
  if (auto found = store.find(usual_bridge)) return found;
  net::Network network;
  network.name = usual_bridge;
  network.driver = net::Driver::bridge;
  TRY_ASSIGN(network.subnet, store.free_subnet());
  // Another command may have made it meanwhile.
  const auto made = store.create(network);
  auto found = store.find(usual_bridge);
  if (!found && !made) return std::unexpected(made.error());
  return found;
}

Result<std::vector<net::Network>> container_networks(const net::NetworkStore& store, const ContainerDefinition& definition) {
  std::vector<net::Network> out;
  for (const std::string& text : definition.networks) {
    if (joined_name(text)) return out;
    const std::string name = text.substr(0, text.find(','));
    if (name == "host" || name == "none") {
      if (definition.networks.size() > 1) return fail(fmt::format("network '{}'", name), "other networks are named, too");
      if (!definition.publish.empty()) return fail("cannot publish ports", fmt::format("the container is on network '{}'", name), "name a network with a way in");
      return out;
    }
    if (name == "bridge") {
      TRY(net::bridge_possible());
      TRY_ASSIGN(out.emplace_back(), default_container_network(store));
    } else {
      TRY_ASSIGN(out.emplace_back(), store.find(name));
    }
  }
  if (out.empty()) {
    TRY_ASSIGN(out.emplace_back(), default_container_network(store));
  }
  if (!definition.publish.empty() && std::ranges::none_of(out, can_publish)) {
    return fail("cannot publish ports", "none of the container's networks has a way in", "name one with the driver user or bridge");
  }
  return out;
}

Result<ContainerNetworks> join_container(const net::NetworkStore& store, const ContainerDefinition& definition, const image::OciConfig& image,
                                         const std::vector<net::Network>& networks, int inside, const std::string& net_program,
                                         const ContainerReturn& back) {
  TRY_ASSIGN(auto ports, ports_of(definition, image));
  ContainerNetworks out;
  const auto way_in = std::ranges::find_if(networks, can_publish);
  for (auto it = networks.begin(); it != networks.end(); ++it) {
    const auto number = static_cast<unsigned>(it - networks.begin());
    net::JoinRequest request{.network = *it, .mac = net::to_string(net::mac_of_name(definition.id.empty() ? definition.name : definition.id, number)),
                             .name = host_name_of(definition.name), .container = inside, .card = fmt::format("eth{}", number)};
    if (it == way_in) request.publish = ports;
    request.held = back.held;
    if (number == 0 && !back.address.empty()) {
      TRY_ASSIGN(request.address, net::Ip4::parse(std::string_view(back.address).substr(0, back.address.find('/'))));
    }
    TRY_ASSIGN(net::Joined joined, net::join(store, request, net_program));
    if (out.address.empty()) out.address = joined.address;
    if (!joined.dns.empty()) out.dns.push_back(joined.dns);
    out.joined.push_back(std::move(joined));
  }
  return out;
}

Result<> open_networks(const ContainerNetworks& networks) {
  for (const net::Joined& joined : networks.joined) {
    if (joined.bridge_port) TRY(joined.bridge_port->open());
  }
  return {};
}

}  // namespace nagaya::domain
