// The network cards of a machine that is about to start: what --network and --publish say, and joining those networks.
#pragma once
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "host/process.hpp"
#include "net/join.hpp"
#include "proto/device_config.hpp"

namespace nagaya::cli {

/// --network and --publish, as help shows them.
[[nodiscard]] std::vector<OptionSpec> network_options();

/// One card as --network gives it: "NAME[,mac=…][,rate-in=…][,rate-out=…][,mtu=…]".
struct CardRequest {
  std::string network;
  proto::NetConfig card{};  ///< its link is left open
};
[[nodiscard]] Result<CardRequest> parse_card(const std::string& text);

/// Cards that were joined to their networks; keep it until the machine has ended.
struct MachineNetworks {
  std::vector<net::Joined> joined{};
  std::vector<host::ChildFd> fds{};  ///< for the machine's process
};

/// Adds a card to `config` for each of `networks`, and publishes `ports` on the first whose network can. With no network
/// named, there is one card on "user" if `by_default` or if ports are published. `machine` is its name, or empty; the
/// machine's process gets descriptors from `first_fd` on.
[[nodiscard]] Result<MachineNetworks> join_networks(const std::vector<std::string>& networks, const std::vector<std::string>& ports, bool by_default,
                                                    const std::string& machine, int first_fd, proto::DeviceConfig& config);

}  // namespace nagaya::cli
