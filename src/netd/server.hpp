// One network: its switch, the machines on it, the way out if there is one, and the loop that serves them.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host/fd.hpp"
#include "net/hello.hpp"
#include "netd/gateway.hpp"
#include "netd/socket_port.hpp"
#include "netd/switch.hpp"

namespace nagaya::netd {

struct ServerConfig {
  std::optional<GatewayConfig> gateway{};  ///< without one the network is a switch only
  unsigned mtu = 1500;                     ///< told to who joins
  int idle_seconds = 30;                   ///< with a listener: end after that time without a machine
};

class Server {
 public:
  static Result<std::unique_ptr<Server>> create(const ServerConfig& config);
  /// A connected socket of a machine.
  Result<> add_port(host::Fd socket);
  /// A listening SOCK_SEQPACKET socket at which machines join.
  void listen(host::Fd socket) { listener_ = std::move(socket); }
  /// Until the last machine has gone (with a listener: for the idle time), or `stop_fd` is readable.
  void run(int stop_fd);
  /// One round of waiting at most `timeout_ms` (-1: no limit).
  void turn(int stop_fd, int timeout_ms);
  [[nodiscard]] std::size_t machines() const { return ports_.size(); }
  [[nodiscard]] const Switch& network() const { return switch_; }

 private:
  explicit Server(const ServerConfig& config) : config_(config) {}
  struct Port {
    explicit Port(host::Fd socket) : station(std::move(socket)) {}
    SocketPort station;
    unsigned number = 0;
    bool greeted = false;  // the first message is behind us
    std::vector<net::PortSpec> published{};
  };
  void accept_one();
  void receive(Port& port);
  void take(Port& port, std::span<u8> message);
  void greet(Port& port, std::string_view text);
  Result<net::Welcome> join(Port& port, const net::Hello& hello);
  void give_address(Port& port, const std::string& name);
  void leave(Port& port);
  void remove_broken();

  ServerConfig config_;
  Switch switch_;  // before what hangs on it
  std::unique_ptr<Gateway> gateway_;
  host::Fd listener_;
  std::vector<std::unique_ptr<Port>> ports_;
  std::map<unsigned, unsigned> guest_of_port_;  // port of the switch → number of its address
  std::vector<pollfd> watched_;
  bool stopped_ = false;
};

}  // namespace nagaya::netd
