// Network cards inside another network namespace: a container's. What is done there is done by a child that joins the namespaces (the
// owning user namespace first) and ends: the caller's own namespaces stay as they are.
#pragma once
#include <sys/types.h>

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

/// Which network namespace: of a process, or (where its files in /proc are closed to us) by descriptor.
struct Inside {
  pid_t pid = 0;
  int fd = -1;
  explicit operator bool() const { return pid != 0 || fd >= 0; }
};

/// A new network namespace that nobody is in yet.
Result<host::Fd> make_network_namespace();
/// Makes a tap of that name in the network namespace, with a packet header as net/wire.hpp says, and configures it as
/// configure_inside does. The card lives as long as its descriptor.
Result<host::Fd> make_tap_inside(const Inside& where, const CardInside& card);
/// A new network namespace has a loopback that is down.
Result<> bring_up_loopback(const Inside& where);
/// Address, size, route and state of a card that is there; loopback is brought up, too.
Result<> configure_inside(const Inside& where, const CardInside& card);

}  // namespace nagaya::net
