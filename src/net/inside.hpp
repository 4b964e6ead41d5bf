// Network cards inside another network namespace: a container's. What is done there is done by a child that joins it and
// ends: the caller's own namespaces stay as they are.
#pragma once
#include <optional>
#include <string>

#include "host/fd.hpp"
#include "net/ip.hpp"
#include "net/mac.hpp"

namespace nagaya::net {

struct CardInside {
  std::string name = "eth0";
  Mac mac{};
  unsigned mtu = 1500;
  std::optional<Ip4> address{};
  unsigned prefix = 24;
  std::optional<Ip4> gateway{};  ///< where the default route leads
};

/// A new network namespace that nobody is in yet. The functions below take one by its descriptor.
Result<host::Fd> make_network_namespace();
/// Makes a tap of that name in the network namespace, with a packet header as net/wire.hpp says, and configures it as
/// configure_inside does. The card lives as long as its descriptor.
Result<host::Fd> make_tap_inside(int network, const CardInside& card);
/// A new network namespace has a loopback that is down.
Result<> bring_up_loopback(int network);
/// Address, size, route and state of a card that is there; loopback is brought up, too.
Result<> configure_inside(int network, const CardInside& card);
/// Tells everybody on the card's network that its address is here now (a gratuitous ARP, RFC 5227 section 3).
Result<> announce_inside(int network, const CardInside& card);
/// No card there answers for its address any more, or all do again: who moves away is not found by two at once. Packets still pass.
Result<> hide_inside(int network, bool hidden);

}  // namespace nagaya::net
