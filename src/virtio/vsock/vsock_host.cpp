// The host's sockets.
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "host/timer_queue.hpp"
#include "virtio/vsock/queues.hpp"
#include "virtio/vsock/vsock.hpp"

namespace nagaya::virtio {

using namespace vsock;

namespace {

constexpr std::size_t longest_greeting = 32;
constexpr timespec tick{1, 0};

/// "CONNECT 1024" → 1024.
std::optional<u32> parse_greeting(std::string_view line) {
  constexpr std::string_view word = "CONNECT ";
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (!line.starts_with(word)) return {};
  line.remove_prefix(word.size());
  u32 port = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), port);
  if (error != std::errc{} || end != line.data() + line.size() || port == 0xffff'ffff) return {};
  return port;
}

}  // namespace

host::Fd vsock::connect_host(const std::string& path, Type type) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return {};
  std::memcpy(address.sun_path, path.data(), path.size());
  const int kind = type == Type::stream ? SOCK_STREAM : SOCK_SEQPACKET;
  host::Fd fd(::socket(AF_UNIX, kind | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // On UNIX sockets this ends at once: a full backlog is a refusal.
  if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return {};
  return fd;
}

Vsock::Connection* Vsock::find(u64 id) {
  const auto at = connections_.find(id);
  return at == connections_.end() ? nullptr : at->second.get();
}

Vsock::Connection* Vsock::find(const Key& key) {
  const auto at = by_key_.find(key);
  return at == by_key_.end() ? nullptr : find(at->second);
}

void Vsock::on_listener() {
  std::lock_guard lock(mutex_);
  if (!live_ && status() & status::driver_ok) {  // paused: clients wait
    (void)loop_->modify(listener_.get(), 0);
    return;
  }
  host::Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket) {
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return;
    (void)loop_->modify(listener_.get(), 0);  // no descriptors left: look again later
    listener_watched_ = false;
    return arm_timer();
  }
  if (!live_ || connections_.size() >= most_connections) return;  // nobody there, or too many: it is closed
  auto connection = std::make_unique<Connection>();
  connection->socket = std::move(socket);
  connection->deadline_ns = host::monotonic_ns() + options_.patience_ns;
  (void)adopt(std::move(connection));
  arm_timer();
}

bool Vsock::adopt(std::unique_ptr<Connection> connection) {
  const u64 id = connection->id = next_id_++;
  const int fd = connection->socket.get();
  if (connection->stage == Stage::open) by_key_[connection->key] = id;
  Connection& kept = *connections_.emplace(id, std::move(connection)).first->second;
  if (!loop_->add(fd, 0, [this, id](u32 events) { on_socket(id, events); })) {
    by_key_.erase(kept.key);
    connections_.erase(id);
    return false;
  }
  watch(kept);
  return true;
}

void Vsock::on_socket(u64 id, u32 events) {
  std::lock_guard lock(mutex_);
  Connection* connection = find(id);
  if (!live_ || connection == nullptr) return;
  if (connection->stage == Stage::greeting) {
    read_greeting(*connection);
  } else {
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && connection->wants_input()) {
      connection->readable = true;
      want(*connection);
    }
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) flush(*connection);
  }
  if ((connection = find(id)) != nullptr) watch(*connection);
  pump();
}

void Vsock::read_greeting(Connection& connection) {
  std::array<char, longest_greeting> bytes;
  const int fd = connection.socket.get();
  const ssize_t seen = ::recv(fd, bytes.data(), bytes.size(), MSG_PEEK | MSG_DONTWAIT);
  if (seen < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (seen <= 0) return drop(connection, false);
  // What follows the line is the guest's.
  const std::string_view text(bytes.data(), static_cast<std::size_t>(seen));
  const std::size_t end = text.find('\n');
  const std::size_t taken = end == std::string_view::npos ? text.size() : end + 1;
  if (::recv(fd, bytes.data(), taken, MSG_DONTWAIT) != static_cast<ssize_t>(taken)) return drop(connection, false);
  connection.greeting.append(text.substr(0, std::min(end, taken)));
  if (connection.greeting.size() > longest_greeting) return drop(connection, false);
  if (end == std::string_view::npos) return;
  const auto port = parse_greeting(connection.greeting);
  if (!port) return drop(connection, false);
  connection.key.guest_port = *port;
  do {
    connection.key.host_port = next_port_++;
    if (next_port_ == 0xffff'ffff) next_port_ = first_port;
  } while (by_key_.contains(connection.key));
  by_key_[connection.key] = connection.id;
  connection.stage = Stage::requested;
  connection.send_request = true;
  want(connection);
}

/// To the host what the socket has room for.
void Vsock::flush(Connection& connection) {
  Connection& c = connection;
  while (!c.outgoing.empty() && !(c.host_shut & shutdown_receive)) {
    std::span<const u8> next = std::span(c.outgoing).subspan(c.outgoing_at);
    const bool whole = c.key.type == Type::seqpacket;
    if (whole) next = next.subspan(4, bus::load_le(next.first(4)));
    const ssize_t n = ::send(c.socket.get(), next.data(), next.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) {
      output_ended(c);
      break;
    }
    c.outgoing_at += static_cast<std::size_t>(n) + (whole ? 4 : 0);
    forwarded(c, static_cast<std::size_t>(n));
    if (c.outgoing_at == c.outgoing.size()) {
      c.outgoing = {};
      c.outgoing_at = 0;
    }
  }
  if (c.guest_shut & shutdown_send && c.outgoing.empty() && !std::exchange(c.socket_shut, true)) {
    ::shutdown(c.socket.get(), SHUT_WR);
  }
  want(c);
  watch(c);
  finish_if_done(c);
}

void Vsock::forwarded(Connection& connection, std::size_t bytes) {
  connection.forwarded += static_cast<u32>(bytes);
  if (connection.forwarded - connection.forwarded_told >= buffer_size / 2) connection.send_credit = true;
}

/// The host sends no more. When it has gone altogether, it receives no more either.
void Vsock::input_ended(Connection& connection) {
  connection.readable = false;
  connection.host_shut |= shutdown_send;
  pollfd look{connection.socket.get(), POLLOUT, 0};
  if (::poll(&look, 1, 0) == 1 && look.revents & (POLLHUP | POLLERR)) output_ended(connection);
  want(connection);
}

void Vsock::output_ended(Connection& connection) {
  connection.host_shut |= shutdown_receive;
  forwarded(connection, connection.held());
  connection.outgoing = {};
  connection.message = {};
  connection.outgoing_at = 0;
  // Without a reader there is nobody to write for long, either: what it wrote before it went is still read.
  if (!connection.wants_input()) connection.host_shut |= shutdown_send;
}

/// Ends what both sides have ended.
void Vsock::finish_if_done(Connection& connection) {
  Connection& c = connection;
  const bool nothing_to_give = c.outgoing.empty();
  // The side that is asked to shut both ways answers with a reset when it is done (5.10.6.6).
  if (c.guest_shut == shutdown_both && nothing_to_give) return drop(c, true);
  if (c.host_shut_told == shutdown_both && c.stage == Stage::open) {
    c.stage = Stage::closing;
    c.deadline_ns = host::monotonic_ns() + options_.patience_ns;
    arm_timer();
  }
}

/// Puts a connection into the line for the receive queue.
void Vsock::want(Connection& connection) {
  if (std::exchange(connection.in_line, true)) return;
  line_.push_back(connection.id);
}

void Vsock::watch(Connection& connection) {
  u32 events = 0;
  if (live_ && connection.stage == Stage::greeting) events = EPOLLIN;
  if (live_ && connection.wants_input() && !connection.readable && connection.incoming.empty()) events |= EPOLLIN;
  if (live_ && !connection.outgoing.empty()) events |= EPOLLOUT;
  (void)loop_->modify(connection.socket.get(), events);
}

void Vsock::drop(Connection& connection, bool tell_guest) {
  if (tell_guest && connection.stage != Stage::greeting && !connection.orphan) replies_.push_back(header_for(connection, Op::rst));
  if (const auto at = by_key_.find(connection.key); at != by_key_.end() && at->second == connection.id) by_key_.erase(at);
  loop_->remove(connection.socket.get());
  connections_.erase(connection.id);
}

void Vsock::arm_timer() {
  if (std::exchange(timer_armed_, true)) return;
  const itimerspec every{tick, tick};
  ::timerfd_settime(timer_.get(), 0, &every, nullptr);
}

void Vsock::on_tick() {
  std::lock_guard lock(mutex_);
  u64 count;
  (void)!::read(timer_.get(), &count, sizeof count);
  if (!live_) return;
  if (!std::exchange(listener_watched_, true)) (void)loop_->modify(listener_.get(), EPOLLIN);
  const u64 now = host::monotonic_ns();
  std::vector<u64> late;
  bool more = false;
  for (const auto& [id, connection] : connections_) {
    if (connection->deadline_ns == 0) continue;
    if (connection->deadline_ns <= now) {
      late.push_back(id);
    } else {
      more = true;
    }
  }
  for (const u64 id : late) {
    Connection& connection = *find(id);
    // A client that said nothing, a guest that does not answer, one that does not end what we have ended.
    drop(connection, connection.stage == Stage::requested);
  }
  pump();
  if (!more && listener_watched_) {
    const itimerspec off{};
    ::timerfd_settime(timer_.get(), 0, &off, nullptr);
    timer_armed_ = false;
  }
}

}  // namespace nagaya::virtio
