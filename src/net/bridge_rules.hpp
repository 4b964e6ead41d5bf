// A bridge network's machines, and the kernel's rules for them as text for nft(8). No system calls here.
#pragma once
#include <string>
#include <vector>

#include "net/network.hpp"
#include "net/port_spec.hpp"

namespace nagaya::net {

/// A machine on a bridge network, kept as a JSON file while it runs.
struct Lease {
  std::string mac;
  Ip4 address{};
  std::string name{};  ///< for DHCP and DNS; may be empty
  std::vector<PortSpec> publish{};
  bool operator==(const Lease&) const = default;
  [[nodiscard]] std::string to_json() const;
  static Result<Lease> from_json(std::string_view text);
};

/// Name of the bridge: at most 15 bytes, different for different networks.
[[nodiscard]] std::string bridge_name(const Network& network);
/// Name of our table for it.
[[nodiscard]] std::string table_name(const Network& network);

/// One transaction that replaces the network's table: address translation, published ports, and what may pass.
[[nodiscard]] std::string nft_script(const Network& network, const std::vector<Lease>& leases);
/// dnsmasq's list of hosts (--dhcp-hostsfile).
[[nodiscard]] std::string dnsmasq_hosts(const std::vector<Lease>& leases);
/// Names it answers for (--addn-hosts): also of those who never ask it for an address.
[[nodiscard]] std::string dnsmasq_names(const std::vector<Lease>& leases);
[[nodiscard]] std::vector<std::string> dnsmasq_args(const Network& network, const std::string& folder);

}  // namespace nagaya::net
