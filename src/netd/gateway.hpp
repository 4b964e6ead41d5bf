// The way out of a user-mode network: libslirp as a station of the switch. It gives addresses by DHCP, forwards DNS, and
// turns guests' connections into sockets of this process.
#pragma once
#include <poll.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "net/port_spec.hpp"
#include "netd/dhcp.hpp"
#include "netd/switch.hpp"

struct Slirp;

namespace nagaya::netd {

struct GatewayConfig {
  net::Net4 subnet{{0x0a000200}, 24};
  bool ip6 = true;
  bool restricted = false;     ///< no connections out; published ports still work
  bool host_loopback = true;   ///< the gateway's address stands for the host's loopback
  unsigned mtu = 32000;  ///< two segments fit the window: see docs/design/net.md
  /// As users of such networks know them: .2 is the gateway, .3 answers DNS, guests begin at .15 (in small networks at .4).
  [[nodiscard]] net::Ip4 address() const { return subnet.at(2); }
  [[nodiscard]] net::Ip4 dns() const { return subnet.at(3); }
  [[nodiscard]] net::Ip4 guest(unsigned number) const { return subnet.at((subnet.size() > 32 ? 15 : 4) + number); }
  [[nodiscard]] unsigned most_guests() const { return subnet.size() > 32 ? std::min<u32>(subnet.size() - 17, Switch::most_ports) : subnet.size() - 5; }
};

class Gateway final : public Station {
 public:
  static Result<std::unique_ptr<Gateway>> create(const GatewayConfig& config, Switch& lan);
  ~Gateway() override;

  /// The guest behind `port` gets this address; `name` is told by DHCP.
  void lease(unsigned port, net::Ip4 address, std::string name);
  void release(unsigned port);
  /// Whether a frame from `port` claims an IPv4 address that is the gateway's or was given to another port.
  [[nodiscard]] bool impersonates(unsigned port, std::span<const u8> frame) const;
  Result<> publish(const net::PortSpec& spec, net::Ip4 guest);
  void withdraw(const net::PortSpec& spec);

  void deliver(unsigned from, const net::Header& header, std::span<u8> frame) override;

  /// Puts the sockets to watch into an empty list and shortens the time to wait. With `hold` no socket is looked at, so that
  /// nothing more comes in.
  void prepare(std::vector<pollfd>& watched, int& timeout_ms, bool hold);
  /// After waiting: `watched` as prepare() left it.
  void dispatch(const std::vector<pollfd>& watched, bool failed);

 private:
  Gateway(const GatewayConfig& config, Switch& lan) : config_(config), switch_(lan) {}
  struct Callbacks;
  struct Timer {
    int id;  // SlirpTimerId
    void* opaque;
    i64 at_ms = -1;  // -1: not set
  };

  GatewayConfig config_;
  Switch& switch_;
  unsigned port_ = 0;
  net::Mac mac_{};
  Slirp* slirp_ = nullptr;
  std::vector<std::unique_ptr<Timer>> timers_;
  std::vector<std::pair<unsigned, DhcpOffer>> leases_;
  std::vector<u8> piece_;  // a segment put together
};

}  // namespace nagaya::netd
