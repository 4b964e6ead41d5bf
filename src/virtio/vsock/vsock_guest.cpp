// Packets from the guest, and to it.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "host/timer_queue.hpp"
#include "virtio/vsock/queues.hpp"
#include "virtio/vsock/vsock.hpp"

namespace nagaya::virtio {

using namespace vsock;

namespace {

/// Packets put into the receive queue before others get their turn on the thread.
constexpr unsigned packets_in_a_row = 256;
constexpr u32 largest_packet = 64 * KiB;

}  // namespace

// ---- From the guest ----

std::optional<u64> Vsock::take_packet(const Chain& chain) {
  if (replies_.size() >= most_replies) {
    // A guest that takes no answers gets no further; its ring goes on when there was room for them.
    sending_stalled_ = true;
    return {};
  }
  std::array<u8, header_size> bytes;
  if (chain.read(0, bytes) != bytes.size()) {
    broken("a packet shorter than its header");
    return 0;
  }
  const Header header = Header::decode(bytes);
  if (header.length > chain.readable_bytes - header_size) {
    broken("a packet shorter than it says");
    return 0;
  }
  on_packet(header, chain);
  return 0;
}

void Vsock::on_packet(const Header& header, const Chain& chain) {
  if (header.src_cid != options_.cid) return;
  const Key key{header.dst_port, header.src_port, static_cast<Type>(header.type)};
  if (header.dst_cid != host_cid || (key.type != Type::stream && key.type != Type::seqpacket)) return refuse(header);
  const Op op = static_cast<Op>(header.op);
  Connection* connection = find(key);
  if (op == Op::request) {
    if (connection != nullptr) drop(*connection, false);
    return on_request(header);
  }
  if (connection == nullptr) return refuse(header);
  connection->peer_size = header.buf_alloc;
  connection->peer_forwarded = header.fwd_cnt;
  connection->credit_asked = false;
  switch (op) {
    case Op::response: return on_response(*connection, header);
    case Op::rst: return on_reset(*connection);
    case Op::shutdown: return on_shutdown(*connection, header.flags);
    case Op::rw: return on_data(*connection, header, chain);
    case Op::credit_update: break;
    case Op::credit_request: connection->send_credit = true; break;
    default: return drop(*connection, true);
  }
  want(*connection);
}

void Vsock::refuse(const Header& header) {
  if (static_cast<Op>(header.op) == Op::rst) return;
  replies_.push_back({.src_cid = header.dst_cid,
                      .dst_cid = header.src_cid,
                      .src_port = header.dst_port,
                      .dst_port = header.src_port,
                      .type = header.type,
                      .op = static_cast<u16>(Op::rst)});
}

void Vsock::on_request(const Header& header) {
  const Key key{header.dst_port, header.src_port, static_cast<Type>(header.type)};
  if (peers_.empty() || connections_.size() >= most_connections) return refuse(header);
  auto socket = connect_host(peers_ + "_" + std::to_string(key.host_port), key.type);
  if (!socket) return refuse(header);
  auto connection = std::make_unique<Connection>();
  connection->key = key;
  connection->socket = std::move(socket);
  connection->stage = Stage::open;
  connection->peer_size = header.buf_alloc;
  connection->peer_forwarded = header.fwd_cnt;
  connection->send_response = connection->readable = true;
  Connection& kept = *connection;
  if (!adopt(std::move(connection))) return refuse(header);
  want(kept);
}

void Vsock::on_response(Connection& connection, const Header&) {
  if (connection.stage != Stage::requested) return drop(connection, true);
  const std::string answer = "OK " + std::to_string(connection.key.host_port) + "\n";
  const ssize_t sent = ::send(connection.socket.get(), answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent != static_cast<ssize_t>(answer.size())) return drop(connection, true);
  connection.stage = Stage::open;
  connection.deadline_ns = 0;
  connection.readable = true;
  want(connection);
}

void Vsock::on_data(Connection& connection, const Header& header, const Chain& chain) {
  const u32 length = header.length;
  const bool allowed = connection.stage == Stage::open && !(connection.guest_shut & shutdown_send) &&
                       length <= buffer_size - connection.held();
  if (connection.stage == Stage::closing) return;  // what crossed our goodbye
  if (!allowed) return drop(connection, true);
  connection.received += length;
  if (connection.host_shut & shutdown_receive) {  // nobody reads it
    forwarded(connection, length);
  } else if (connection.key.type == Type::stream) {
    std::size_t done = 0;
    if (connection.outgoing.empty() && length != 0) {
      iov_.clear();
      (void)slice(chain.readable, header_size, length, iov_);
      msghdr message{.msg_iov = iov_.data(), .msg_iovlen = iov_.size()};
      const ssize_t n = ::sendmsg(connection.socket.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n > 0) done = static_cast<std::size_t>(n);
      forwarded(connection, done);
    }
    const std::size_t old = connection.outgoing.size();
    connection.outgoing.resize(old + length - done);
    (void)chain.read(header_size + done, std::span(connection.outgoing).subspan(old));
  } else {
    const std::size_t old = connection.message.size();
    connection.message.resize(old + length);
    (void)chain.read(header_size, std::span(connection.message).subspan(old));
    if (header.flags & end_of_message && !connection.message.empty()) {
      std::array<u8, 4> prefix;
      bus::store_le(prefix, connection.message.size());
      connection.outgoing.insert(connection.outgoing.end(), prefix.begin(), prefix.end());
      connection.outgoing.insert(connection.outgoing.end(), connection.message.begin(), connection.message.end());
      connection.message.clear();
    }
  }
  flush(connection);
}

void Vsock::on_shutdown(Connection& connection, u32 flags) {
  if (connection.stage != Stage::open && connection.stage != Stage::closing) return drop(connection, true);
  connection.guest_shut |= flags & shutdown_both;
  if (connection.guest_shut & shutdown_receive) {
    connection.readable = false;
    connection.incoming.clear();
    ::shutdown(connection.socket.get(), SHUT_RD);
  }
  flush(connection);
}

void Vsock::on_reset(Connection& connection) {
  // A guest that closed in order may lose patience before a slow reader took everything: that still gets it.
  if (connection.stage == Stage::open && connection.guest_shut == shutdown_both && !connection.outgoing.empty()) {
    by_key_.erase(connection.key);
    connection.orphan = true;
    connection.deadline_ns = host::monotonic_ns() + options_.patience_ns;
    return arm_timer();
  }
  drop(connection, false);
}

// ---- To the guest ----

Vsock::Header Vsock::header_for(Connection& connection, Op op) {
  connection.forwarded_told = connection.forwarded;
  return {.src_cid = host_cid,
          .dst_cid = options_.cid,
          .src_port = connection.key.host_port,
          .dst_port = connection.key.guest_port,
          .type = static_cast<u16>(connection.key.type),
          .op = static_cast<u16>(op),
          .buf_alloc = buffer_size,
          .fwd_cnt = connection.forwarded};
}

bool Vsock::receive_buffer(Chain& chain) {
  Queue& ring = queue(receive_queue);
  if (!ring.enabled()) return false;
  if (!pop(receive_queue, chain) && !(sound() && ring.enable_notifications() && pop(receive_queue, chain))) return false;
  if (chain.writable_bytes > header_size) return true;
  broken("a receive buffer with no room for a packet");
  return false;
}

bool Vsock::send(const Header& header) {
  if (!receive_buffer(out_chain_)) return false;
  const auto bytes = header.encode();
  (void)out_chain_.write(0, bytes);
  queue(receive_queue).push(out_chain_, bytes.size());
  return true;
}

/// Gives the guest what waits for it, as far as it has buffers.
void Vsock::pump() {
  if (!live_) return;
  bool sent = false, starved = false;
  unsigned left = packets_in_a_row;
  queue(receive_queue).disable_notifications();
  while (left != 0 && !starved && !(replies_.empty() && line_.empty())) {
    --left;
    if (!replies_.empty()) {
      starved = !send(replies_.front());
      if (!starved) replies_.pop_front();
      sent |= !starved;
      continue;
    }
    Connection* connection = find(line_.front());
    if (connection == nullptr) {
      line_.pop_front();
      continue;
    }
    const u64 id = connection->id;
    const Step step = advance(*connection);
    sent |= step == Step::sent;
    starved = step == Step::starved;
    if (starved) break;
    line_.pop_front();
    connection = find(id);  // it may have ended
    if (connection == nullptr) continue;
    if (step == Step::sent) {
      line_.push_back(id);
    } else {
      connection->in_line = false;
    }
    watch(*connection);
  }
  if (sent) interrupt(receive_queue);
  if (sending_stalled_ && replies_.size() < most_replies) kicked(transmit_queue);
  if (!starved && !(replies_.empty() && line_.empty()) && !pump_posted_) {
    pump_posted_ = true;
    loop_->post([this] {
      std::lock_guard lock(mutex_);
      pump_posted_ = false;
      pump();
    });
  }
}

/// One packet of a connection, the most pressing first.
Vsock::Step Vsock::advance(Connection& connection) {
  Connection& c = connection;
  const auto sent = [&](Header header) { return send(header) ? Step::sent : Step::starved; };
  const auto tell = [&](bool& flag, Op op) {
    const Step step = sent(header_for(c, op));
    if (step == Step::sent) flag = false;
    return step;
  };
  if (c.send_request) return tell(c.send_request, Op::request);
  if (c.stage == Stage::greeting || c.stage == Stage::requested) return Step::idle;
  if (c.send_response) return tell(c.send_response, Op::response);
  if (c.send_credit) return tell(c.send_credit, Op::credit_update);
  if (c.host_shut != c.host_shut_told) {
    Header header = header_for(c, Op::shutdown);
    header.flags = c.host_shut;
    const Step step = sent(header);
    if (step == Step::sent) {
      c.host_shut_told = c.host_shut;
      finish_if_done(c);
    }
    return step;
  }
  if (!c.wants_input() || (!c.readable && c.incoming.empty())) return Step::idle;
  if (c.credit() == 0) {
    if (c.credit_asked) return Step::idle;
    const Step step = sent(header_for(c, Op::credit_request));
    c.credit_asked = step == Step::sent;
    return step;
  }
  return c.key.type == Type::stream ? send_data(c) : send_message(c);
}

void Vsock::sent_data(Connection& connection, const Chain& chain, u32 length, u32 flags) {
  Header header = header_for(connection, Op::rw);
  header.length = length;
  header.flags = flags;
  (void)chain.write(0, header.encode());
  queue(receive_queue).push(chain, header_size + length);
  connection.sent += length;
}

/// Straight from the socket into the guest's buffer.
Vsock::Step Vsock::send_data(Connection& connection) {
  if (!receive_buffer(out_chain_)) return Step::starved;
  iov_.clear();
  (void)slice(out_chain_.writable, header_size, std::min(connection.credit(), largest_packet), iov_);
  msghdr message{.msg_iov = iov_.data(), .msg_iovlen = iov_.size()};
  const ssize_t n = ::recvmsg(connection.socket.get(), &message, MSG_DONTWAIT);
  const int error = errno;
  if (n > 0) {
    sent_data(connection, out_chain_, static_cast<u32>(n), 0);
    return Step::sent;
  }
  queue(receive_queue).unpop(out_chain_);
  connection.readable = n < 0 && error == EINTR;
  if (n < 0 && (error == EAGAIN || error == EINTR)) return Step::idle;
  input_ended(connection);
  return advance(connection);  // tells the guest
}

/// A part of a message, which is read as a whole before.
Vsock::Step Vsock::send_message(Connection& connection) {
  Connection& c = connection;
  if (c.incoming.empty()) {
    const int fd = c.socket.get();
    const ssize_t size = ::recv(fd, nullptr, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
      c.readable = false;
      return Step::idle;
    }
    if (size <= 0) {
      input_ended(c);
      return advance(c);
    }
    if (static_cast<std::size_t>(size) > longest_message) {
      drop(c, true);
      return Step::idle;
    }
    c.incoming.resize(static_cast<std::size_t>(size));
    c.incoming_at = 0;
    if (::recv(fd, c.incoming.data(), c.incoming.size(), MSG_DONTWAIT) != size) {
      drop(c, true);
      return Step::idle;
    }
  }
  if (!receive_buffer(out_chain_)) return Step::starved;
  const std::size_t rest = c.incoming.size() - c.incoming_at;
  const auto length = static_cast<u32>(
      std::min<u64>({rest, c.credit(), largest_packet, out_chain_.writable_bytes - header_size}));
  (void)out_chain_.write(header_size, std::span(c.incoming).subspan(c.incoming_at, length));
  sent_data(c, out_chain_, length, length == rest ? end_of_message : 0);
  c.incoming_at += length;
  if (length == rest) c.incoming.clear();
  return Step::sent;
}

}  // namespace nagaya::virtio
