#include "net/bridge_rules.hpp"

#include "net/hello.hpp"
#include "net/mac.hpp"
#include "proto/json_fields.hpp"

namespace nagaya::net {

std::string Lease::to_json() const {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  out["mac"] = mac;
  out["address"] = address.text();
  out["name"] = name;
  auto& ports = out["publish"] = nlohmann::ordered_json::array();
  for (const PortSpec& spec : publish) ports.push_back(spec.text());
  return proto::print(out);
}

Result<Lease> Lease::from_json(std::string_view text) {
  TRY_ASSIGN(const auto object, proto::parse_object(text, "lease"));
  proto::Fields fields(object, "lease");
  std::string address, mac, name;
  std::vector<std::string> ports;
  fields.text("mac", mac);
  fields.text("address", address);
  fields.text("name", name);
  fields.texts("publish", ports);
  TRY(fields.finish());
  // The same rules as for a greeting: names end up in dnsmasq's list.
  Hello hello{.mac = mac, .name = name};
  for (const std::string& port : ports) {
    TRY_ASSIGN(const auto specs, parse_port_spec(port));
    hello.publish.insert(hello.publish.end(), specs.begin(), specs.end());
  }
  TRY_ASSIGN(hello, Hello::from_json(hello.to_json()));
  Lease out{.mac = hello.mac, .name = hello.name, .publish = hello.publish};
  if (!parse_mac(out.mac)) return fail("lease", "it has no MAC address");
  TRY_ASSIGN(out.address, Ip4::parse(address));
  return out;
}

std::string bridge_name(const Network& network) {
  constexpr std::size_t longest = 15 - 3;  // IFNAMSIZ, without the prefix and the final zero
  if (network.name.size() <= longest) return "ny-" + network.name;
  const Mac hash = mac_of_name(network.name, 0);
  return fmt::format("ny-{}-{:02x}{:02x}{:02x}", network.name.substr(0, longest - 7), hash[1], hash[2], hash[3]);
}

std::string table_name(const Network& network) { return "nagaya-" + network.name; }

std::string nft_script(const Network& network, const std::vector<Lease>& leases) {
  const std::string table = table_name(network), bridge = bridge_name(network), subnet = network.subnet.text();
  std::string published;
  for (const Lease& lease : leases) {
    for (const PortSpec& port : lease.publish) {
      const char* const kind = port.udp ? "udp" : "tcp";
      const std::string to = port.address.value == 0 ? "" : fmt::format("ip daddr {} ", port.address.text());
      published += fmt::format("    {}{} dport {} dnat to {}:{}\n", to, kind, port.host, lease.address.text(), port.guest);
    }
  }
  std::string out = fmt::format("table ip {0} {{}}\ndelete table ip {0}\ntable ip {0} {{\n", table);
  // The first drop keeps the host's loopback from guests, although its packets may be routed to them (route_localnet).
  out += fmt::format("  chain early {{\n    type filter hook prerouting priority -300; policy accept;\n"
                     "    iifname \"{}\" ip daddr 127.0.0.0/8 drop\n  }}\n", bridge);
  out += fmt::format("  chain published {{\n{}  }}\n", published);
  out += "  chain arriving {\n    type nat hook prerouting priority -100; policy accept;\n    fib daddr type local jump published\n  }\n";
  out += "  chain local {\n    type nat hook output priority -100; policy accept;\n    fib daddr type local jump published\n  }\n";
  out += "  chain leaving {\n    type nat hook postrouting priority 100; policy accept;\n";
  if (!network.internal) out += fmt::format("    ip saddr {} oifname != \"{}\" masquerade\n", subnet, bridge);
  // A guest, or this host by its loopback, that comes to a published port from the inside.
  out += fmt::format("    ip saddr {} oifname \"{}\" ct status dnat masquerade\n", subnet, bridge);
  out += fmt::format("    ip saddr 127.0.0.0/8 oifname \"{}\" masquerade\n  }}\n", bridge);
  out += "  chain passing {\n    type filter hook forward priority 0; policy accept;\n";
  out += fmt::format("    iifname \"{0}\" oifname \"{0}\" accept\n", bridge);
  out += fmt::format("    oifname \"{0}\" ct state established,related accept\n    oifname \"{0}\" ct status dnat accept\n    oifname \"{0}\" drop\n", bridge);
  if (network.internal) out += fmt::format("    iifname \"{0}\" ct state established,related accept\n    iifname \"{0}\" drop\n", bridge);
  return out + "  }\n}\n";
}

std::string dnsmasq_hosts(const std::vector<Lease>& leases) {
  std::string out;
  for (const Lease& lease : leases) {
    out += fmt::format("{},{}{}{}\n", lease.mac, lease.address.text(), lease.name.empty() ? "" : ",", lease.name);
  }
  return out;
}

std::string dnsmasq_names(const std::vector<Lease>& leases) {
  std::string out;
  for (const Lease& lease : leases) {
    if (!lease.name.empty()) out += fmt::format("{}\t{}\n", lease.address.text(), lease.name);
  }
  return out;
}

std::vector<std::string> dnsmasq_args(const Network& network, const std::string& folder) {
  std::vector<std::string> out = {
      "--conf-file=/dev/null", "--no-hosts", "--bind-interfaces", "--interface=" + bridge_name(network), "--except-interface=lo",
      // Only machines of the list get an address: theirs.
      fmt::format("--dhcp-range={},static,{},24h", network.subnet.base.text(), Ip4{network.subnet.mask()}.text()),
      "--dhcp-authoritative", "--dhcp-hostsfile=" + folder + "/hosts", "--addn-hosts=" + folder + "/names", "--leasefile-ro",
      "--pid-file=" + folder + "/dnsmasq.pid", fmt::format("--dhcp-option=option:mtu,{}", network.effective_mtu())};
  if (network.internal) {
    out.push_back("--dhcp-option=option:router");  // none
    out.push_back("--no-resolv");
  }
  return out;
}

}  // namespace nagaya::net
