// A card's packets through a packet socket at its other end (packet(7)): for hosts that keep /dev/net/tun from their users. Packets are
// whole and summed, both ways; the header of net/wire.hpp is added and taken off here.
#include <linux/if_packet.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "net/packet_link.hpp"

namespace nagaya::net {
namespace {

class PacketLink final : public Link {
 public:
  explicit PacketLink(host::Fd fd) : Link(std::move(fd), 0) {}

  std::size_t send(std::span<const Message> messages) override {
    for (std::size_t i = 0; i < messages.size(); ++i) {
      // Without the header, which says nothing: we told that we can do nothing.
      std::array<iovec, most_parts> parts;
      std::size_t count = 0, skip = header_size;
      for (const iovec& part : messages[i]) {
        const std::size_t cut = std::min(skip, part.iov_len);
        skip -= cut;
        if (part.iov_len > cut && count < parts.size()) parts[count++] = {static_cast<u8*>(part.iov_base) + cut, part.iov_len - cut};
      }
      msghdr message{.msg_iov = parts.data(), .msg_iovlen = count};
      ssize_t done;
      do done = ::sendmsg(fd(), &message, MSG_DONTWAIT);
      while (done < 0 && errno == EINTR);
      if (done < 0 && errno == EAGAIN) return i;
      if (done < 0 && (errno == ENODEV || errno == ENXIO)) close();
      // Other failures, such as a card that is down or a full queue, lose the packet.
    }
    return messages.size();
  }

  std::size_t receive(std::span<const iovec> parts) override {
    if (closed() || parts.empty() || parts[0].iov_len < header_size) return nothing;
    std::array<iovec, most_parts> rest;
    const std::size_t count = std::min(parts.size(), rest.size());
    std::copy_n(parts.begin(), count, rest.begin());
    rest[0] = {static_cast<u8*>(parts[0].iov_base) + header_size, parts[0].iov_len - header_size};
    msghdr message{.msg_iov = rest.data(), .msg_iovlen = count};
    for (;;) {
      const ssize_t done = ::recvmsg(fd(), &message, MSG_DONTWAIT);
      if (done < 0 && errno == EINTR) continue;
      // ENETDOWN: told once when the card goes down; it may come up again.
      if (done < 0 && errno == ENODEV) close();
      if (done <= 0) return nothing;
      std::memset(parts[0].iov_base, 0, header_size);
      return static_cast<std::size_t>(done) + header_size;
    }
  }

  bool tell_offloads(u32 /*bits*/) override { return true; }
};

}  // namespace

std::unique_ptr<Link> adopt_packet_socket(host::Fd fd) { return std::make_unique<PacketLink>(std::move(fd)); }

}  // namespace nagaya::net
