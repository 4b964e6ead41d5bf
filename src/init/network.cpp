// The half of dhcp.hpp that talks to the kernel.
#include <arpa/inet.h>
#include <dirent.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "init/dhcp.hpp"
#include "init/files.hpp"

namespace nagaya::init {
namespace {

class Socket {
 public:
  Socket() : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {}
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

ifreq request_for(const std::string& card) {
  ifreq out{};
  card.copy(out.ifr_name, sizeof out.ifr_name - 1);
  return out;
}

sockaddr_in address_of(u32 address, u16 port = 0) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(port);
  out.sin_addr.s_addr = htonl(address);
  return out;
}

Result<> bring_up(const Socket& socket, const std::string& card) {
  ifreq request = request_for(card);
  if (::ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0) return fail_errno("cannot bring up " + card);
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) return fail_errno("cannot bring up " + card);
  return {};
}

/// The first Ethernet card by name, or "".
std::string first_card(const Socket& socket, std::array<u8, 6>& mac) {
  std::vector<std::string> names;
  DIR* folder = ::opendir("/sys/class/net");
  if (folder == nullptr) return {};
  while (const dirent* entry = ::readdir(folder)) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  ::closedir(folder);
  std::ranges::sort(names);
  for (const std::string& name : names) {
    ifreq request = request_for(name);
    if (::ioctl(socket.get(), SIOCGIFHWADDR, &request) != 0 || request.ifr_hwaddr.sa_family != ARPHRD_ETHER) continue;
    std::memcpy(mac.data(), request.ifr_hwaddr.sa_data, mac.size());
    return name;
  }
  return {};
}

Result<Lease> ask(const std::string& card, const std::array<u8, 6>& mac, const std::string& hostname) {
  const Socket socket;
  const int on = 1;
  ifreq request = request_for(card);
  const sockaddr_in here = address_of(INADDR_ANY, 68), there = address_of(INADDR_BROADCAST, 67);
  if (socket.get() < 0 || ::setsockopt(socket.get(), SOL_SOCKET, SO_BROADCAST, &on, sizeof on) != 0 ||
      ::setsockopt(socket.get(), SOL_SOCKET, SO_BINDTODEVICE, &request, sizeof request) != 0 ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&here), sizeof here) != 0)
    return fail_errno("cannot ask for an address");
  u32 transaction = 0;
  if (::getrandom(&transaction, sizeof transaction, 0) != sizeof transaction) return fail_errno("cannot ask for an address");
  DhcpKind send = DhcpKind::discover;
  Lease offer;
  int patience_ms = 250;
  for (unsigned tries = 0; tries < 5; ++tries) {
    const std::vector<u8> message = dhcp_message(send, transaction, mac, offer, hostname);
    // A card that has just come up may refuse the first.
    (void)::sendto(socket.get(), message.data(), message.size(), 0, reinterpret_cast<const sockaddr*>(&there), sizeof there);
    pollfd watched{socket.get(), POLLIN, 0};
    bool answered = false;
    while (!answered && ::poll(&watched, 1, patience_ms) > 0) {
      u8 buffer[1500];
      const ssize_t got = ::recv(socket.get(), buffer, sizeof buffer, 0);
      const auto answer = parse_dhcp(std::span(buffer, static_cast<std::size_t>(std::max<ssize_t>(got, 0))), transaction, mac);
      if (!answer) continue;
      answered = true;
      if (answer->first == DhcpKind::ack && send == DhcpKind::request) return answer->second;
      if (answer->first == DhcpKind::offer) {
        offer = answer->second;
        send = DhcpKind::request;
      } else {
        send = DhcpKind::discover;
      }
    }
    if (!answered) patience_ms = std::min(patience_ms * 2, 4000);
  }
  return fail("no address from the network", "no server answered on " + card);
}

Result<> configure(const Socket& socket, const std::string& card, const Lease& lease) {
  const auto set = [&](unsigned long what, u32 value) {
    ifreq request = request_for(card);
    const sockaddr_in address = address_of(value);
    std::memcpy(&request.ifr_addr, &address, sizeof address);
    return ::ioctl(socket.get(), what, &request) == 0;
  };
  if (!set(SIOCSIFADDR, lease.address) || (lease.mask != 0 && !set(SIOCSIFNETMASK, lease.mask))) return fail_errno("cannot set the address of " + card);
  if (lease.router != 0) {
    rtentry route{};
    const sockaddr_in any = address_of(0), router = address_of(lease.router);
    std::memcpy(&route.rt_dst, &any, sizeof any);
    std::memcpy(&route.rt_genmask, &any, sizeof any);
    std::memcpy(&route.rt_gateway, &router, sizeof router);
    route.rt_flags = RTF_UP | RTF_GATEWAY;
    std::string name = card;
    route.rt_dev = name.data();
    if (::ioctl(socket.get(), SIOCADDRT, &route) != 0 && errno != EEXIST) return fail_errno("cannot set the route by " + card);
  }
  std::string text;
  if (!lease.domain.empty()) text += "search " + lease.domain + "\n";
  for (const u32 server : lease.dns) {
    char name[INET_ADDRSTRLEN];
    const in_addr address{htonl(server)};
    if (::inet_ntop(AF_INET, &address, name, sizeof name) != nullptr) text += std::string("nameserver ") + name + "\n";
  }
  if (text.empty()) return {};
  // The image's own file may be a link to what is not there.
  ::unlink("/etc/resolv.conf");
  TRY(make_folder("/etc"));
  return write_text("/etc/resolv.conf", text);
}

}  // namespace

Result<> set_up_network(const std::string& hostname) {
  const Socket socket;
  if (socket.get() < 0) return fail_errno("no network in this kernel");
  TRY(bring_up(socket, "lo"));
  std::array<u8, 6> mac{};
  const std::string card = first_card(socket, mac);
  if (card.empty()) return {};
  TRY(bring_up(socket, card));
  TRY_ASSIGN(const Lease lease, ask(card, mac, hostname));
  return configure(socket, card, lease);
}

}  // namespace nagaya::init
