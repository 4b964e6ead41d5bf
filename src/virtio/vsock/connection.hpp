// One connection between a port of the guest and a socket on the host, with the credit that bounds what either side may
// have under way (VIRTIO 1.2, 5.10.6.3). Plain data; Vsock moves it along.
#pragma once
#include <string>
#include <vector>

#include "host/fd.hpp"
#include "virtio/vsock/layout.hpp"

namespace nagaya::virtio::vsock {

/// What we take from the guest before the host's reader has taken it from us. Times the number of connections, this bounds
/// our memory.
inline constexpr u32 buffer_size = 128 * KiB;
/// A message of a seqpacket socket of the host that is longer ends its connection.
inline constexpr std::size_t longest_message = 256 * KiB;

struct Key {
  u32 host_port = 0, guest_port = 0;
  Type type = Type::stream;
  auto operator<=>(const Key&) const = default;
};

enum class Stage : u8 {
  greeting,   ///< a client of ours has not said yet which port it wants
  requested,  ///< the guest has not answered our request
  open,
  closing,    ///< both directions are shut; the guest's reset ends it
};

/// A UNIX socket of the host that somebody listens at; empty: nobody does. Never waits.
[[nodiscard]] host::Fd connect_host(const std::string& path, Type type);

struct Connection {
  u64 id = 0;
  Key key;
  host::Fd socket;
  Stage stage = Stage::greeting;
  u64 deadline_ns = 0;  ///< 0: none
  std::string greeting;

  // From the guest. `outgoing` is what the socket had no room for: bytes of a stream, or messages each behind its
  // length (4 bytes).
  std::vector<u8> outgoing, message;
  std::size_t outgoing_at = 0;
  u32 received = 0, forwarded = 0, forwarded_told = 0;
  u32 guest_shut = 0;  ///< shutdown flags of the guest
  bool socket_shut = false;
  bool orphan = false;       ///< the guest has forgotten it; what it sent is still delivered

  // To the guest.
  std::vector<u8> incoming;  ///< a message under way
  std::size_t incoming_at = 0;
  u32 sent = 0, peer_size = 0, peer_forwarded = 0;
  u32 host_shut = 0, host_shut_told = 0;
  bool readable = false;
  bool send_request = false, send_response = false, send_credit = false;
  bool credit_asked = false;
  bool in_line = false;  ///< waits for its turn in the receive queue

  /// Bytes that the guest has room for.
  [[nodiscard]] u32 credit() const {
    const u32 under_way = sent - peer_forwarded;
    return under_way < peer_size ? peer_size - under_way : 0;
  }
  /// Bytes taken from the guest that the host has not taken from us.
  [[nodiscard]] u32 held() const { return received - forwarded; }
  [[nodiscard]] bool drained() const { return outgoing.empty() && message.empty(); }
  [[nodiscard]] bool wants_input() const {
    return stage == Stage::open && !(host_shut & shutdown_send) && !(guest_shut & shutdown_receive);
  }
};

}  // namespace nagaya::virtio::vsock
