#include "cli/run_network.hpp"

#include <fmt/core.h>
#include <sys/random.h>

#include <algorithm>
#include <charconv>

#include "cli/launch.hpp"
#include "cli/sizes.hpp"
#include "net/mac.hpp"

namespace nagaya::cli {
namespace {

/// A named machine keeps its address; one without a name gets a new one, so that two can share a network.
Result<std::string> fresh_mac(const std::string& machine, unsigned card) {
  if (!machine.empty()) return net::to_string(net::mac_of_name(machine, card));
  net::Mac mac;
  if (::getrandom(mac.data(), mac.size(), 0) != static_cast<ssize_t>(mac.size())) return fail_errno("cannot make a MAC address");
  mac[0] = static_cast<u8>((mac[0] & 0xfc) | 0x02);  // local, one station
  return net::to_string(mac);
}

/// What a host may be called: other characters of a machine's name become '-'.
std::string host_name_of(const std::string& machine) {
  std::string out = machine.substr(0, 63);
  std::ranges::replace_if(out, [](char c) { return c == '_' || c == '.'; }, '-');
  return out;
}

bool can_publish(const net::Network& network) { return network.driver == net::Driver::user || network.driver == net::Driver::bridge; }

}  // namespace

std::vector<OptionSpec> network_options() {
  return {
      {"--network", "NETWORK", "network of a card: user, none or one of 'nagaya network ls', as NAME [,mac=ADDRESS] [,rate-in=SIZE] [,rate-out=SIZE] [,mtu=N]; rates are bytes per second; of a container also host or container:NAME",
       Completes::nothing, {}, true, true},
      {"-p,--publish", "PORT", "a port of this host leads to one of the guest: [ip:]host:guest[/tcp|udp]; ranges too", Completes::nothing, {}, true, true},
  };
}

Result<CardRequest> parse_card(const std::string& text) {
  const auto bad = [&](std::string why) {
    return fail(fmt::format("--network {}", text), std::move(why), "write NAME[,mac=52:54:00:12:34:56][,rate-in=10M][,rate-out=10M][,mtu=1500]");
  };
  CardRequest out;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    const std::string part = text.substr(at, end - at);
    const std::size_t equals = part.find('=');
    const std::string key = part.substr(0, equals), value = equals == std::string::npos ? "" : part.substr(equals + 1);
    if (at == 0) {
      if (equals != std::string::npos || part.empty()) return bad("it must begin with the network's name");
      out.network = part;
    } else if (key == "mac") {
      const auto mac = net::parse_mac(value);
      if (!mac || (*mac)[0] & 1 || *mac == net::Mac{}) return bad(fmt::format("'{}' is no address of a network card", value));
      out.card.mac = net::to_string(*mac);
    } else if (key == "rate-in" || key == "rate-out") {
      auto rate = parse_size(value);
      if (!rate || *rate == 0) return bad(fmt::format("'{}' is no rate", value));
      (key == "rate-in" ? out.card.rate_in : out.card.rate_out) = *rate;
    } else if (key == "mtu") {
      const auto [last, error] = std::from_chars(value.data(), value.data() + value.size(), out.card.mtu);
      if (error != std::errc{} || last != value.data() + value.size() || out.card.mtu < 576 || out.card.mtu > 65520) return bad("the MTU must be from 576 to 65520");
    } else {
      return bad(fmt::format("'{}' is not understood", part));
    }
    at = end + 1;
  }
  return out;
}

Result<MachineNetworks> join_networks(const std::vector<std::string>& networks, const std::vector<std::string>& ports, bool by_default,
                                      const std::string& machine, int first_fd, proto::DeviceConfig& config) {
  std::vector<net::PortSpec> publish;
  for (const std::string& text : ports) {
    TRY_ASSIGN(const auto specs, net::parse_port_spec(text));
    publish.insert(publish.end(), specs.begin(), specs.end());
  }
  if (publish.size() > net::most_ports) return fail("too many ports are published", fmt::format("a machine may publish {}", net::most_ports));
  std::vector<std::string> wanted = networks;
  if (wanted.empty() && (by_default || !ports.empty())) wanted.push_back("user");

  const net::NetworkStore store;
  std::vector<std::pair<CardRequest, net::Network>> cards;
  for (const std::string& text : wanted) {
    TRY_ASSIGN(CardRequest card, parse_card(text));
    TRY_ASSIGN(net::Network network, store.find(card.network));
    if (network.driver == net::Driver::none) {
      if (wanted.size() > 1) return fail("--network none", "other networks are named, too");
      continue;
    }
    // The card's own MTU holds for a network that is this machine's alone.
    if (network.own() && card.card.mtu != 0) network.mtu = card.card.mtu;
    cards.emplace_back(std::move(card), std::move(network));
  }
  const auto way_in = std::ranges::find_if(cards, [](const auto& c) { return can_publish(c.second); });
  if (!publish.empty() && way_in == cards.end()) {
    return fail("cannot publish ports", "none of the machine's networks has a way in", "name one with the driver user or bridge");
  }

  MachineNetworks out;
  std::string program;
  for (auto it = cards.begin(); it != cards.end(); ++it) {
    proto::NetConfig card = it->first.card;
    if (card.mac.empty()) {
      TRY_ASSIGN(card.mac, fresh_mac(machine, static_cast<unsigned>(config.nets.size())));
    }
    if (program.empty() && it->second.driver != net::Driver::bridge) {
      TRY_ASSIGN(program, helper_path("nagaya-net"));
    }
    net::JoinRequest request{.network = it->second, .mac = card.mac, .name = host_name_of(machine)};
    if (it == way_in) request.publish = publish;
    TRY_ASSIGN(net::Joined joined, net::join(store, request, program));
    card.fd = first_fd + static_cast<int>(out.fds.size());
    if (card.mtu == 0) card.mtu = joined.mtu;
    out.fds.push_back({joined.link.get(), card.fd});
    out.joined.push_back(std::move(joined));
    config.nets.push_back(std::move(card));
  }
  return out;
}

}  // namespace nagaya::cli
