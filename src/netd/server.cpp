#include "netd/server.hpp"

#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <set>
#include <thread>

#include "base/log.hpp"

namespace nagaya::netd {
namespace {

// Messages taken from one port before the others have their turn.
constexpr unsigned batch = 16;
// When nearly all descriptors are used up, a connection that cannot be taken stays readable: no faster than this, then.
constexpr std::chrono::milliseconds breath{5};

std::size_t descriptor_limit() {
  rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 1024;
}

}  // namespace

Result<std::unique_ptr<Server>> Server::create(const ServerConfig& config) {
  auto out = std::unique_ptr<Server>(new Server(config));
  if (config.gateway) {
    TRY_ASSIGN(out->gateway_, Gateway::create(*config.gateway, out->switch_));
  }
  return out;
}

Result<> Server::add_port(host::Fd socket) {
  TRY(host::set_nonblocking(socket.get()));
  auto port = std::make_unique<Port>(std::move(socket));
  const auto number = switch_.attach(port->station);
  if (!number) return fail("the network is full", fmt::format("it has {} ports", Switch::most_ports));
  port->number = *number;
  ports_.push_back(std::move(port));
  return {};
}

void Server::accept_one() {
  host::Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket) return;
  const int fd = socket.get();
  if (auto added = add_port(std::move(socket)); !added) {
    // add_port has closed it; who joins sees the end of the connection.
    static log::RateLimit limit(8);
    if (limit.pass()) log::warning("a machine could not join (descriptor {}): {}", fd, added.error().message());
  }
}

Result<net::Welcome> Server::join(Port& port, const net::Hello& hello) {
  net::Welcome out{.mtu = config_.mtu};
  if (!hello.mac.empty()) {
    const auto mac = net::parse_mac(hello.mac);
    if (!mac || !switch_.pin(port.number, *mac)) return fail(fmt::format("a machine with the address {} is on this network already", hello.mac));
  }
  if (!gateway_) {
    if (!hello.publish.empty()) return fail("cannot publish ports", "this network has no way in or out");
    return out;
  }
  give_address(port, hello.name);
  const auto number = guest_of_port_.find(port.number);
  if (number == guest_of_port_.end()) return fail("no address is free", fmt::format("the network has room for {} machines", config_.gateway->most_guests()));
  const net::Ip4 address = config_.gateway->guest(number->second);
  for (const net::PortSpec& spec : hello.publish) {
    TRY(gateway_->publish(spec, address));
    port.published.push_back(spec);
  }
  out.address = fmt::format("{}/{}", address.text(), config_.gateway->subnet.prefix);
  out.gateway = config_.gateway->address().text();
  return out;
}

void Server::give_address(Port& port, const std::string& name) {
  if (!gateway_ || guest_of_port_.contains(port.number)) return;
  std::set<unsigned> used;
  for (const auto& [number, guest] : guest_of_port_) used.insert(guest);
  unsigned guest = 0;
  while (used.contains(guest)) ++guest;
  if (guest >= config_.gateway->most_guests()) return;
  guest_of_port_[port.number] = guest;
  gateway_->lease(port.number, config_.gateway->guest(guest), name);
}

void Server::greet(Port& port, std::string_view text) {
  net::Welcome welcome;
  auto hello = net::Hello::from_json(text);
  auto answer = hello ? join(port, *hello) : Result<net::Welcome>(std::unexpected(hello.error()));
  if (answer) {
    welcome = *answer;
  } else {
    welcome.error = answer.error().message();
  }
  const std::string json = welcome.to_json();
  (void)::send(port.station.fd(), json.data(), json.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (!welcome.error.empty()) ::shutdown(port.station.fd(), SHUT_RDWR);
}

void Server::take(Port& port, std::span<u8> message) {
  if (!port.greeted) {
    port.greeted = true;
    const bool hello = !message.empty() && message[0] == '{';
    if (hello) greet(port, {reinterpret_cast<const char*>(message.data()), message.size()});
    if (!port.station.broken()) port.station.announce();
    if (hello) return;
    give_address(port, {});
  }
  if (message.size() == net::control_size) {
    port.station.set_offloads(net::control_bits(std::span<const u8, net::control_size>(message.data(), net::control_size)));
    return;
  }
  if (message.size() < net::header_size + net::ethernet_size) return;
  net::Header head;
  std::memcpy(&head, message.data(), sizeof head);
  const std::span<u8> frame = message.subspan(net::header_size);
  auto header = net::checked(head, frame.size());
  if (!header) return;
  // What a guest says of checksums it has verified is nothing to build on.
  header->flags &= static_cast<u8>(~net::flag::data_valid);
  if (gateway_ && gateway_->impersonates(port.number, frame)) return;
  switch_.input(port.number, *header, frame);
}

void Server::receive(Port& port) {
  // Room for one byte more than the largest message, so that a longer one shows. One loop thread: one buffer.
  static std::array<u8, net::largest_message + 1> buffer;
  for (unsigned i = 0; i < batch && !port.station.broken(); ++i) {
    ssize_t got;
    do got = ::recv(port.station.fd(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return leave(port);
    if (static_cast<std::size_t>(got) > net::largest_message) continue;
    take(port, std::span(buffer).first(static_cast<std::size_t>(got)));
  }
}

void Server::leave(Port& port) {
  switch_.detach(port.number);
  if (gateway_) {
    for (const net::PortSpec& spec : port.published) gateway_->withdraw(spec);
    gateway_->release(port.number);
  }
  guest_of_port_.erase(port.number);
  std::erase_if(ports_, [&](const auto& p) { return p.get() == &port; });
}

void Server::remove_broken() {
  for (std::size_t i = ports_.size(); i-- > 0;) {
    if (ports_[i]->station.broken()) leave(*ports_[i]);
  }
}

void Server::turn(int stop_fd, int timeout_ms) {
  watched_.clear();
  std::size_t outside = 0;
  if (gateway_) {
    // With nobody able to take more, the sockets outside wait as well; TCP then slows down without loss.
    const bool hold = !ports_.empty() && std::ranges::all_of(ports_, [](const auto& p) { return p->station.crowded(); });
    gateway_->prepare(watched_, timeout_ms, hold);
    outside = watched_.size();
    if (outside + ports_.size() + 64 > descriptor_limit()) std::this_thread::sleep_for(breath);
  }
  const std::size_t fixed = watched_.size();
  watched_.push_back({stop_fd, POLLIN, 0});
  watched_.push_back({listener_ ? listener_.get() : -1, POLLIN, 0});
  std::vector<Port*> served;
  for (const auto& port : ports_) {
    served.push_back(port.get());
    watched_.push_back({port->station.fd(), static_cast<short>(POLLIN | (port->station.waiting() ? POLLOUT : 0)), 0});
  }
  const bool failed = ::poll(watched_.data(), watched_.size(), timeout_ms) < 0;
  if (failed && errno != EINTR) return;
  if (failed) {
    for (pollfd& entry : watched_) entry.revents = 0;
  }
  if (watched_[fixed].revents != 0) stopped_ = true;
  const bool joining = (watched_[fixed + 1].revents & POLLIN) != 0;
  // Machines first: what they send may answer what the gateway is about to repeat. A port may leave meanwhile, but only itself.
  for (std::size_t i = 0; i < served.size(); ++i) {
    const short seen = watched_[fixed + 2 + i].revents;
    if (seen & POLLOUT) served[i]->station.flush();
    if (seen & (POLLIN | POLLHUP | POLLERR)) receive(*served[i]);
  }
  if (gateway_) {
    watched_.resize(fixed);
    gateway_->dispatch(watched_, failed);
  }
  remove_broken();
  if (joining) accept_one();
}

void Server::run(int stop_fd) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point empty_since = Clock::now();
  while (!stopped_) {
    int timeout = -1;
    if (!ports_.empty()) {
      empty_since = Clock::now();
    } else {
      if (!listener_) return;
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(empty_since + std::chrono::seconds(config_.idle_seconds) - Clock::now());
      if (left.count() <= 0) return;
      timeout = static_cast<int>(left.count()) + 1;
    }
    turn(stop_fd, timeout);
  }
}

}  // namespace nagaya::netd
