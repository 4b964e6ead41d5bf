// A bridge network in the host's kernel: root's. Set up in steps that are undone when one fails; what a killed process left
// behind is cleared at the next change, because each machine holds the lock of its lease's file while it lives.
#pragma once
#include <memory>

#include "host/fd.hpp"
#include "net/bridge_rules.hpp"

namespace nagaya::net {

/// A machine's place on the network; the destructor gives it back.
class BridgePort {
 public:
  BridgePort(Network network, std::string folder, Lease lease, host::Fd lock, host::Fd tap, std::vector<host::Fd> reserved);
  void hold(host::Fd container, std::string card);
  ~BridgePort();
  BridgePort(const BridgePort&) = delete;
  BridgePort& operator=(const BridgePort&) = delete;
  [[nodiscard]] const Lease& lease() const { return lease_; }
  /// Lets packets pass to and from a container that was `held`, and tells the network where its address is now.
  Result<> open();
  /// The tap device, opened with IFF_VNET_HDR. It lives as long as its descriptors. None for a container.
  [[nodiscard]] host::Fd& tap() { return tap_; }

 private:
  Network network_;
  std::string folder_;
  Lease lease_;
  host::Fd lock_, tap_;
  host::Fd container_;  // the network namespace of a container that is held
  std::string card_;
  std::vector<host::Fd> reserved_;  // the published ports, so that no program of the host takes them
};

/// What a bridge network needs and this host or user lacks, as an error that says how to mend it.
Result<> bridge_possible();
/// Makes the bridge, its rules and its dnsmasq, as far as they are not there. `folder` is the network's runtime folder.
Result<> bridge_up(const Network& network, const std::string& folder);
/// Removes all of them. Error: machines are on it.
Result<> bridge_down(const Network& network, const std::string& folder);
/// Puts a machine on it, or a container: then one end of a pair of cards appears, configured, as `card` in the network namespace of the
/// container, and there is no tap. The lease's address, if it has one, is the wished one: it gets it when it is free. `held`: nothing passes
/// before BridgePort::open.
Result<std::unique_ptr<BridgePort>> bridge_join(const Network& network, const std::string& folder, Lease lease, int container = -1,
                                                const std::string& card = {}, bool held = false);
/// Takes away addresses, names and published ports of those whose process was killed; nothing when there are none.
Result<> bridge_tidy(const Network& network, const std::string& folder);

}  // namespace nagaya::net
