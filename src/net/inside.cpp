#include "net/inside.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <netinet/if_ether.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>

#include "host/passing.hpp"
#include "net/tool.hpp"

namespace nagaya::net {
namespace {

ifreq request_for(const std::string& name) {
  ifreq out{};
  std::memcpy(out.ifr_name, name.data(), std::min<std::size_t>(name.size(), IFNAMSIZ - 1));
  return out;
}

sockaddr address_of(Ip4 address) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = htonl(address.value);
  sockaddr out{};
  std::memcpy(&out, &in, sizeof out);
  return out;
}

Result<> bring_up(int socket, const std::string& name) {
  ifreq request = request_for(name);
  if (::ioctl(socket, SIOCGIFFLAGS, &request) != 0) return fail_errno(fmt::format("there is no card '{}'", name));
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (::ioctl(socket, SIOCSIFFLAGS, &request) != 0) return fail_errno(fmt::format("cannot bring up '{}'", name));
  return {};
}

Result<> configure(const CardInside& card) {
  const host::Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return fail_errno("cannot make a socket");
  TRY(bring_up(socket.get(), "lo"));
  const auto set = [&](unsigned long what, ifreq request, const char* name) -> Result<> {
    if (::ioctl(socket.get(), what, &request) != 0) return fail_errno(fmt::format("cannot set the {} of '{}'", name, card.name));
    return {};
  };
  ifreq request = request_for(card.name);
  request.ifr_mtu = static_cast<int>(card.mtu);
  TRY(set(SIOCSIFMTU, request, "MTU"));
  request = request_for(card.name);
  request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
  std::memcpy(request.ifr_hwaddr.sa_data, card.mac.data(), card.mac.size());
  TRY(set(SIOCSIFHWADDR, request, "address"));
  if (card.address) {
    request = request_for(card.name);
    request.ifr_addr = address_of(*card.address);
    TRY(set(SIOCSIFADDR, request, "IP address"));
    request = request_for(card.name);
    request.ifr_netmask = address_of({card.prefix == 0 ? 0 : ~u32{0} << (32 - card.prefix)});
    TRY(set(SIOCSIFNETMASK, request, "netmask"));
  }
  TRY(bring_up(socket.get(), card.name));
  if (card.gateway) {
    rtentry route{};
    route.rt_dst = address_of({0});
    route.rt_genmask = address_of({0});
    route.rt_gateway = address_of(*card.gateway);
    route.rt_flags = RTF_UP | RTF_GATEWAY;
    if (::ioctl(socket.get(), SIOCADDRT, &route) != 0 && errno != EEXIST) return fail_errno("cannot set the default route");
  }
  return {};
}

Result<host::Fd> open_tap(const CardInside& card) {
  TRY_ASSIGN(host::Fd tap, host::Fd::open("/dev/net/tun", O_RDWR | O_NONBLOCK));
  ifreq request = request_for(card.name);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(tap.get(), TUNSETIFF, &request) != 0) return fail_errno(fmt::format("cannot make the card '{}'", card.name));
  return tap;
}

/// Two cards back to back, both inside, and a packet socket at the one nobody configures: needs no file of the host. The card computes its
/// sums and cuts its packets itself.
Result<host::Fd> open_packet_socket(const CardInside& card) {
  const std::string other = card.name + "-out";
  TRY(run_tool("ip", {"link", "add", card.name, "type", "veth", "peer", "name", other}));
  const host::Fd control(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!control) return fail_errno("cannot make a socket");
  for (const u32 feature : {ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_STXCSUM}) {
    ethtool_value off{feature, 0};
    ifreq request = request_for(card.name);
    request.ifr_data = reinterpret_cast<char*>(&off);
    if (::ioctl(control.get(), SIOCETHTOOL, &request) != 0 && errno != EOPNOTSUPP) return fail_errno(fmt::format("cannot set up '{}'", card.name));
  }
  ifreq request = request_for(other);
  request.ifr_mtu = static_cast<int>(card.mtu);
  if (::ioctl(control.get(), SIOCSIFMTU, &request) != 0) return fail_errno(fmt::format("cannot set the MTU of '{}'", other));
  TRY(bring_up(control.get(), other));
  host::Fd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1, room = 4 * static_cast<int>(MiB);
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(::if_nametoindex(other.c_str()));
  if (!socket || ::setsockopt(socket.get(), SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) != 0 ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno(fmt::format("cannot open the other end of '{}'", card.name));
  }
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  return socket;
}

/// What the child says: 'F' with a descriptor, 'D' for done, else 'E' and the error's text.
Result<host::Fd> answer_of(int socket) {
  std::string text(4096, '\0');
  auto passed = host::receive_passing(socket, text);
  if (!passed || passed->bytes == 0) return fail("cannot set up the container's network", "the process that does it ended early");
  if (text[0] == 'E') return fail("cannot set up the container's network", text.substr(1, passed->bytes - 1));
  return std::move(passed->fd);
}

/// Without a network namespace: in a child that is where we are.
Result<host::Fd> inside(int network, const std::function<Result<host::Fd>()>& work) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return fail_errno("cannot make a socket");
  const host::Fd ours(pair[0]);
  host::Fd theirs(pair[1]);
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("cannot start a process");
  if (child == 0) {
    const bool there = network < 0 || ::setns(network, CLONE_NEWNET) == 0;
    const Result<host::Fd> result = there ? work() : Result<host::Fd>(fail_errno("cannot join the network namespace"));
    if (!result) {
      const std::string text = "E" + result.error().message();
      (void)::send(theirs.get(), text.data(), text.size(), MSG_NOSIGNAL);
    } else if (*result) {
      (void)host::send_passing(theirs.get(), "F", result->get());
    } else {
      (void)::send(theirs.get(), "D", 1, MSG_NOSIGNAL);
    }
    ::_exit(0);
  }
  theirs.reset();
  auto out = answer_of(ours.get());
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return out;
}

}  // namespace

Result<host::Fd> make_network_namespace() {
  return inside(-1, []() -> Result<host::Fd> {
    if (::unshare(CLONE_NEWNET) != 0) return fail_errno("cannot make a network namespace");
    return host::Fd::open("/proc/self/ns/net", O_RDONLY);
  });
}

Result<host::Fd> make_tap_inside(int network, const CardInside& card) {
  return inside(network, [&]() -> Result<host::Fd> {
    auto tap = open_tap(card);
    if (!tap) {
      auto packets = open_packet_socket(card);
      if (!packets) {
        tap.error().hint = "make the device for all users: chmod 666 /dev/net/tun (or install iproute2)";
        return tap;
      }
      tap = std::move(packets);
    }
    TRY(configure(card));
    return tap;
  });
}

Result<> bring_up_loopback(int network) {
  TRY(inside(network, []() -> Result<host::Fd> {
    const host::Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket) return fail_errno("cannot make a socket");
    TRY(bring_up(socket.get(), "lo"));
    return host::Fd();
  }));
  return {};
}

Result<> announce_inside(int network, const CardInside& card) {
  if (!card.address) return {};
  TRY(inside(network, [&]() -> Result<host::Fd> {
    ether_arp said{};
    said.ea_hdr = {htons(ARPHRD_ETHER), htons(ETH_P_IP), ETH_ALEN, sizeof(u32), htons(ARPOP_REQUEST)};
    const u32 address = htonl(card.address->value);
    std::memcpy(said.arp_sha, card.mac.data(), ETH_ALEN);
    std::memcpy(said.arp_spa, &address, sizeof address);
    std::memcpy(said.arp_tpa, &address, sizeof address);
    sockaddr_ll to{};
    to.sll_family = AF_PACKET;
    to.sll_protocol = htons(ETH_P_ARP);
    to.sll_ifindex = static_cast<int>(::if_nametoindex(card.name.c_str()));
    to.sll_halen = ETH_ALEN;
    std::memset(to.sll_addr, 0xff, ETH_ALEN);
    const host::Fd socket(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket || ::sendto(socket.get(), &said, sizeof said, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) < 0) {
      return fail_errno(fmt::format("cannot announce the address of '{}'", card.name));
    }
    return host::Fd();
  }));
  return {};
}

Result<> hide_inside(int network, bool hidden) {
  TRY(inside(network, [&]() -> Result<host::Fd> {
    const host::Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket) return fail_errno("cannot make a socket");
    using Cards = struct if_nameindex;
    const std::unique_ptr<Cards, void (*)(Cards*)> cards(::if_nameindex(), [](Cards* list) {
      if (list != nullptr) ::if_freenameindex(list);
    });
    for (const Cards* card = cards.get(); card != nullptr && card->if_index != 0; ++card) {
      ifreq request = request_for(card->if_name);
      if (::ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0) return fail_errno(fmt::format("cannot ask card '{}'", card->if_name));
      if ((request.ifr_flags & IFF_LOOPBACK) != 0) continue;
      request.ifr_flags = static_cast<short>(hidden ? request.ifr_flags | IFF_NOARP : request.ifr_flags & ~IFF_NOARP);
      if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) return fail_errno(fmt::format("cannot set up card '{}'", card->if_name));
    }
    return host::Fd();
  }));
  return {};
}

Result<> configure_inside(int network, const CardInside& card) {
  TRY(inside(network, [&]() -> Result<host::Fd> {
    TRY(configure(card));
    return host::Fd();
  }));
  return {};
}

}  // namespace nagaya::net
