// Puts a machine's card on a network: starts or joins what serves it.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host/process.hpp"
#include "net/bridge.hpp"
#include "net/network.hpp"
#include "proto/device_config.hpp"

namespace nagaya::net {

struct JoinRequest {
  Network network;
  std::string mac;   ///< of the card
  std::string name;  ///< of the machine, as host name; may be empty
  std::vector<PortSpec> publish{};
  /// A container: the card appears, configured, in this network namespace; -1: a machine.
  int container = -1;
  std::string card = "eth0";  ///< its name there
  Ip4 address{};              ///< wished; 0: any
  bool held = false;          ///< on a bridge: nothing passes before BridgePort::open
};

/// A card's place on a network, held by whoever started the machine until it has ended.
struct Joined {
  host::Fd link{};  ///< the other end of the card: give it to the machine's process, then close it; none for a container
  unsigned mtu = 0;
  std::string address{};  ///< "10.0.2.15/24" when the network gives one
  std::string gateway{}, dns{};  ///< of networks that have one
  std::optional<host::Process> own_process{};  ///< a nagaya-net for this card alone; ends with its machine
  std::optional<host::Process> pump{};         ///< between a container's tap and the network's socket; ends with either
  std::unique_ptr<BridgePort> bridge_port{};
  host::Fd membership{};  ///< a shared lock: the network is in use
};

/// `program` is the path of nagaya-net.
Result<Joined> join(const NetworkStore& store, const JoinRequest& request, const std::string& program);

/// Takes away what those who were killed had on bridges.
void tidy(const NetworkStore& store);

/// Whether machines are on a network that lives in a process of ours or on a bridge.
Result<bool> in_use(const NetworkStore& store, const Network& network);

}  // namespace nagaya::net
