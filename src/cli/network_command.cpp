#include "cli/network_command.hpp"

#include <fmt/core.h>

#include <charconv>
#include <cstdio>

#include "cli/launch.hpp"
#include "cli/table.hpp"
#include "definition/objects.hpp"
#include "net/join.hpp"

namespace nagaya::cli {
namespace {

using net::Driver;
using net::Network;

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

Result<std::vector<std::string>> names_of(const Parsed& options) {
  const auto& names = options.all("NAME");
  if (names.empty()) return fail("nagaya network " + options.last("ACTION"), "no network is named", "see 'nagaya help network'");
  return names;
}

Result<int> create(const Parsed& options) {
  TRY_ASSIGN(const auto names, names_of(options));
  if (names.size() > 1) return fail("nagaya network create", fmt::format("unexpected argument '{}'", names[1]));
  const net::NetworkStore store;
  Network network{.name = names[0]};
  if (options.has("driver")) {
    TRY_ASSIGN(network.driver, net::parse_driver(options.last("driver")));
  }
  const bool addresses = network.driver == Driver::user || network.driver == Driver::bridge;
  if (options.has("subnet")) {
    if (!addresses) return fail("--subnet", "an isolated network gives no addresses");
    TRY_ASSIGN(network.subnet, net::Net4::parse(options.last("subnet")));
  } else if (network.driver == Driver::bridge) {
    TRY_ASSIGN(network.subnet, store.free_subnet());
  }
  if (options.has("mtu")) {
    const std::string text = options.last("mtu");
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), network.mtu);
    if (error != std::errc{} || end != text.data() + text.size() || network.mtu == 0) return fail(fmt::format("--mtu {}", text), "it must be a whole number");
  }
  network.internal = options.has("internal");
  network.host_loopback = !options.has("no-host-loopback");
  network.ip6 = !options.has("no-ip6");
  TRY(definition::create_network(store, network, true));
  print(network.name + "\n");
  return 0;
}

Result<int> list(const Parsed& options) {
  if (options.has("NAME")) return fail("nagaya network ls", fmt::format("unexpected argument '{}'", options.last("NAME")));
  std::vector<std::string> unreadable;
  TRY_ASSIGN(const auto networks, net::NetworkStore().list(&unreadable));
  for (const std::string& message : unreadable) complain(Error{message});
  if (options.has("quiet")) {
    for (const Network& n : networks) print(n.name + "\n");
    return 0;
  }
  Table table{{"name", "driver", "subnet", "mtu", "internal"}, {}};
  for (const Network& n : networks) {
    const bool addresses = n.driver == Driver::user || n.driver == Driver::bridge;
    table.rows.push_back({n.name, std::string(net::driver_name(n.driver)), addresses ? n.subnet.text() : "-",
                          n.driver == Driver::none ? "-" : std::to_string(n.effective_mtu()), n.internal || n.driver == Driver::isolated ? "yes" : "no"});
  }
  print(render(table, options.last("output")));
  return 0;
}

Result<int> inspect(const Parsed& options) {
  TRY_ASSIGN(const auto names, names_of(options));
  const net::NetworkStore store;
  std::string out = "[";
  for (const std::string& name : names) {
    TRY_ASSIGN(const Network network, store.find(name));
    out += (out.size() > 1 ? ",\n" : "\n") + network.to_json();
  }
  print(out + "\n]\n");
  return 0;
}

Result<int> remove(const Parsed& options) {
  TRY_ASSIGN(const auto names, names_of(options));
  const net::NetworkStore store;
  int code = 0;
  for (const std::string& name : names) {
    if (auto done = definition::remove_network(store, name); !done) {
      complain(done.error());
      code = 125;
    } else {
      print(name + "\n");
    }
  }
  return code;
}

Result<int> run(const Parsed& options) {
  const std::string action = options.last("ACTION");
  if (action == "create") return create(options);
  if (action == "ls") return list(options);
  if (action == "inspect") return inspect(options);
  if (action == "rm") return remove(options);
  return fail("nagaya network", "no action is named", "create, ls, inspect or rm");
}

}  // namespace

CommandSpec network_command() {
  return {
      .name = "network",
      .summary = "make, list, show and remove networks for machines",
      .examples = {{"nagaya network create lab", "a network that machines share, with a way out and no need for root"},
                   {"nagaya run IMAGE --network lab", "a machine on it"},
                   {"nagaya network create quiet --driver isolated", "machines see each other and nothing else"},
                   {"sudo nagaya network create br --driver bridge --subnet 10.89.7.0/24", "a bridge of this host's kernel, with address translation"},
                   {"nagaya network rm lab", "and away with it"}},
      .options = {{"ACTION", "ACTION", "what to do: create, ls, inspect or rm", Completes::words, {"create", "ls", "inspect", "rm"}},
                  {"NAME", "NAME", "the network; inspect and rm take several", Completes::nothing, {}, false, true},
                  {"--driver", "DRIVER", "create: user (default), isolated or bridge", Completes::words, {"user", "isolated", "bridge"}},
                  {"--subnet", "NET", "create: IPv4 subnet (default: 10.0.2.0/24 for user, a free one of 10.89.0.0/16 for bridge)"},
                  {"--mtu", "N", "create: largest IP packet (default: 32000 for user, else 1500)"},
                  {"--internal", "", "create: no way out; published ports still work"},
                  {"--no-host-loopback", "", "create: the gateway does not stand for this host's loopback (user)"},
                  {"--no-ip6", "", "create: IPv4 only (user)"},
                  {"-q,--quiet", "", "ls: names only"},
                  {"-f,--output", "FORMAT", "ls: table, json, yaml or csv (default: table)", Completes::words, table_formats()}},
      .sections = {{"Drivers", {},
                    {{"user", "addresses by DHCP, DNS, IPv4 and IPv6 out through this user's own sockets; 10.0.2.2 is the gateway and stands for the host's loopback"},
                     {"isolated", "an Ethernet switch between machines, without addresses"},
                     {"bridge", "root: a bridge, nftables rules in a table of its own, DHCP and DNS by dnsmasq"}}},
                   {"Built in", "The network 'user' is there always; each machine on it has one of its own. 'none' means no card.", {}}},
      .run = run,
  };
}

}  // namespace nagaya::cli
