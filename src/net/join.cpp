#include "net/join.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "base/log.hpp"
#include "net/hello.hpp"
#include "net/inside.hpp"
#include "net/mac.hpp"

namespace nagaya::net {
namespace {

constexpr int patience_ms = 10'000;
// Descriptors of nagaya-net.
constexpr int port_fd = 3, status_fd = 4, splice_fd = 5;

std::vector<std::string> server_args(const Network& network) {
  std::vector<std::string> out = {"--mtu", std::to_string(network.effective_mtu()), "--status-fd", std::to_string(status_fd)};
  if (network.driver != Driver::user) return out;
  out.insert(out.end(), {"--user", "--subnet", network.subnet.text()});
  if (network.internal) out.push_back("--restrict");
  if (!network.host_loopback) out.push_back("--no-host-loopback");
  if (!network.ip6) out.push_back("--no-ip6");
  return out;
}

/// Starts nagaya-net and waits until it serves.
Result<host::Process> start_server(host::SpawnOptions options) {
  TRY_ASSIGN(auto pipe, host::Fd::pipe());
  options.fds.push_back({pipe.second.get(), status_fd});
  TRY_ASSIGN(host::Process process, host::Process::spawn(options));
  pipe.second.reset();
  TRY_ASSIGN(const auto line, host::read_all(pipe.first.get(), 4096, "the network's process"));
  const std::string said(line.begin(), line.end());
  if (said == "ready\n") return process;
  return fail("the network's process did not start", said.substr(0, said.find('\n')));
}

/// Says who joins, and waits for the answer. Control messages may come before it.
Result<Welcome> greet(int socket, const JoinRequest& request) {
  const std::string hello = Hello{.mac = request.mac, .name = request.name, .publish = request.publish}.to_json();
  if (hello.size() > longest_hello) return fail("too many ports are published");
  if (::send(socket, hello.data(), hello.size(), MSG_NOSIGNAL) < 0) return fail_errno(fmt::format("cannot join network '{}'", request.network.name));
  std::string answer(longest_hello, '\0');
  for (;;) {
    pollfd wait{socket, POLLIN, 0};
    const int ready = ::poll(&wait, 1, patience_ms);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return fail(fmt::format("cannot join network '{}'", request.network.name), "its process does not answer");
    const ssize_t got = ::recv(socket, answer.data(), answer.size(), 0);
    if (got <= 0) return fail_errno(fmt::format("cannot join network '{}'", request.network.name), got < 0 ? errno : ECONNRESET);
    if (answer[0] == '{') {
      TRY_ASSIGN(Welcome welcome, Welcome::from_json(std::string_view(answer).substr(0, static_cast<std::size_t>(got))));
      if (!welcome.error.empty()) return fail(fmt::format("cannot join network '{}'", request.network.name), welcome.error);
      return welcome;
    }
  }
}

Ip4 dns_of(const Network& network) { return network.driver == Driver::user ? network.subnet.at(3) : network.gateway(); }

/// A container's end of a link: a tap in its namespace, and a process between the two.
Result<> move_inside(const JoinRequest& request, const std::string& program, Joined& joined) {
  CardInside card{.name = request.card, .mtu = joined.mtu};
  const auto mac = parse_mac(request.mac);
  if (!mac) return fail(fmt::format("'{}' is no address of a network card", request.mac));
  card.mac = *mac;
  if (!joined.address.empty()) {
    const std::size_t slash = joined.address.find('/');
    TRY_ASSIGN(card.address, Ip4::parse(joined.address.substr(0, slash)));
    card.prefix = request.network.subnet.prefix;
    card.gateway = request.network.gateway();
  }
  TRY_ASSIGN(const host::Fd tap, make_tap_inside(request.container, card));
  host::SpawnOptions options{.program = program, .fds = {{tap.get(), port_fd}, {joined.link.get(), splice_fd}}, .new_session = true};
  options.args = {"--splice-fd", std::to_string(port_fd), "--splice-fd", std::to_string(splice_fd), "--status-fd", std::to_string(status_fd)};
  TRY_ASSIGN(joined.pump, start_server(std::move(options)));
  joined.link.reset();
  return {};
}

Result<Joined> join_own(const JoinRequest& request, const std::string& program) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return fail_errno("cannot make a socket");
  Joined out{.link = host::Fd(pair[0])};
  host::Fd theirs(pair[1]);
  host::SpawnOptions options{.program = program, .args = server_args(request.network), .fds = {{theirs.get(), port_fd}}, .new_session = true};
  options.args.insert(options.args.end(), {"--port-fd", std::to_string(port_fd)});
  TRY_ASSIGN(out.own_process, start_server(std::move(options)));
  theirs.reset();
  TRY_ASSIGN(const Welcome welcome, greet(out.link.get(), request));
  out.mtu = welcome.mtu;
  out.address = welcome.address;
  return out;
}

Result<Joined> join_shared(const NetworkStore& store, const JoinRequest& request, const std::string& program) {
  TRY_ASSIGN(const std::string folder, store.runtime_folder(request.network.name));
  Joined out;
  TRY_ASSIGN(out.membership, host::Fd::open(folder + "/members", O_RDWR | O_CREAT, 0600));
  if (::flock(out.membership.get(), LOCK_SH) != 0) return fail_errno("cannot lock the network");
  // Who comes first starts the process; the others wait here and find it.
  TRY_ASSIGN(const host::Fd starting, host::Fd::open(folder + "/starting", O_RDWR | O_CREAT, 0600));
  if (::flock(starting.get(), LOCK_EX) != 0) return fail_errno("cannot lock the network");
  const std::string path = folder + "/socket";
  Error last;
  // It may be about to end for lack of machines just when we connect; then a new one is started.
  for (int attempt = 0; attempt < 3; ++attempt) {
    auto connected = host::Fd::connect_unix(path, SOCK_SEQPACKET);
    if (!connected) {
      host::SpawnOptions options{.program = program, .args = server_args(request.network), .die_with_parent = false, .new_session = true};
      options.args.insert(options.args.end(), {"--listen", path});
      // It may outlive us, and must not keep our caller's pipes open.
      TRY_ASSIGN(const host::Fd null, host::Fd::open("/dev/null", O_RDWR));
      for (int stream = 0; stream < 3; ++stream) options.fds.push_back({null.get(), stream});
      TRY_ASSIGN(host::Process server, start_server(std::move(options)));
      (void)server.release();  // it outlives us when others join, and ends by itself
      TRY_ASSIGN(connected, host::Fd::connect_unix(path, SOCK_SEQPACKET));
    }
    auto welcome = greet(connected->get(), request);
    if (welcome) {
      out.link = std::move(*connected);
      out.mtu = welcome->mtu;
      out.address = welcome->address;
      return out;
    }
    last = std::move(welcome).error();
    if (last.code != ECONNRESET && last.code != EPIPE) break;
  }
  return std::unexpected(std::move(last));
}

}  // namespace

Result<Joined> join(const NetworkStore& store, const JoinRequest& request, const std::string& program) {
  switch (request.network.driver) {
    case Driver::none: return fail("the network 'none' has no cards");
    case Driver::bridge: {
      TRY_ASSIGN(const std::string folder, store.runtime_folder(request.network.name));
      Joined out{.mtu = request.network.effective_mtu()};
      TRY_ASSIGN(out.bridge_port, bridge_join(request.network, folder,
                                              {.mac = request.mac, .address = request.address, .name = request.name, .publish = request.publish},
                                              request.container, request.card, request.held));
      out.link = std::move(out.bridge_port->tap());
      out.address = fmt::format("{}/{}", out.bridge_port->lease().address.text(), request.network.subnet.prefix);
      out.gateway = request.network.gateway().text();
      out.dns = dns_of(request.network).text();
      return out;
    }
    case Driver::user:
    case Driver::isolated: {
      TRY_ASSIGN(Joined out, request.network.own() ? join_own(request, program) : join_shared(store, request, program));
      if (request.network.driver == Driver::user) {
        out.gateway = request.network.gateway().text();
        out.dns = dns_of(request.network).text();
      }
      if (request.container >= 0) TRY(move_inside(request, program, out));
      return out;
    }
  }
  return fail("no such driver");
}

void tidy(const NetworkStore& store) {
  if (::geteuid() != 0) return;
  const auto networks = store.list();
  if (!networks) return;
  for (const Network& network : *networks) {
    if (network.driver != Driver::bridge) continue;
    const auto folder = store.runtime_folder(network.name);
    auto done = folder ? bridge_tidy(network, *folder) : std::unexpected(folder.error());
    if (!done) log::warning("network '{}': {}", network.name, done.error().message());
  }
}

Result<bool> in_use(const NetworkStore& store, const Network& network) {
  if (network.built_in() || network.driver == Driver::bridge) return false;  // a bridge is asked when it is taken down
  TRY_ASSIGN(const std::string folder, store.runtime_folder(network.name));
  TRY_ASSIGN(const host::Fd members, host::Fd::open(folder + "/members", O_RDWR | O_CREAT, 0600));
  if (::flock(members.get(), LOCK_EX | LOCK_NB) == 0) return false;
  if (errno == EWOULDBLOCK) return true;
  return fail_errno("cannot lock the network");
}

}  // namespace nagaya::net
