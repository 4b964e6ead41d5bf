// For tests: the other end of a card's link, and a card with a driver's registers.
#pragma once
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <optional>

#include "net/link.hpp"
#include "virtio/contract_test_util.hpp"
#include "virtio/net/layout.hpp"
#include "virtio/net/net.hpp"

namespace nagaya::virtio::testing {

using Frame = std::vector<u8>;

struct Message {
  net::Header header;
  Frame frame;
};

class Peer {
 public:
  /// Gives the card's end.
  std::unique_ptr<net::Link> connect() {
    auto pair = net::link_pair();
    EXPECT_TRUE(pair);
    fd = std::move(pair->first);
    auto link = net::adopt_link(std::move(pair->second));
    EXPECT_TRUE(link);
    return std::move(*link);
  }
  bool send(const Frame& frame, net::Header header = {}, int flags = 0) const {
    iovec parts[] = {{&header, sizeof header}, {const_cast<u8*>(frame.data()), frame.size()}};
    const msghdr message{.msg_iov = parts, .msg_iovlen = 2};
    return ::sendmsg(fd.get(), &message, flags | MSG_NOSIGNAL) > 0;
  }
  void send_raw(const std::vector<u8>& bytes) const { (void)::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  void tell_offloads(u32 bits) const { (void)::send(fd.get(), &bits, sizeof bits, MSG_NOSIGNAL); }
  /// The next frame; control messages go to `told`. Nothing when none came in time.
  std::optional<Message> receive(int patience_ms = 10000) {
    std::vector<u8> bytes(net::largest_message);
    for (;;) {
      pollfd waiting{fd.get(), POLLIN, 0};
      if (::poll(&waiting, 1, patience_ms) != 1) return {};
      const ssize_t got = ::recv(fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (got <= 0) return {};
      if (got == net::control_size) {
        u32 bits;
        std::memcpy(&bits, bytes.data(), sizeof bits);
        told.push_back(bits);
        continue;
      }
      Message out;
      EXPECT_GE(got, 12);
      std::memcpy(&out.header, bytes.data(), 12);
      out.frame.assign(bytes.begin() + 12, bytes.begin() + got);
      return out;
    }
  }
  /// Waits until the card has told these offloads.
  bool is_told(u32 bits) {
    return eventually([&] {
      (void)receive(0);
      return !told.empty() && told.back() == bits;
    });
  }

  host::Fd fd;
  std::deque<u32> told;
};

inline constexpr net::Mac guest_mac = {0x02, 0, 0, 0, 0, 1};

inline Frame frame_of(std::size_t size, u8 seed = 1, net::Mac to = guest_mac) {
  Frame out(std::max(size, net::ethernet_size));
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<u8>(seed + i * 7 + i / 256);
  std::copy(to.begin(), to.end(), out.begin());
  out[6] = 2;
  out[12] = 0x12;  // no protocol that anyone knows
  out[13] = 0x34;
  out.resize(size);
  return out;
}

/// A card whose links end in `peers`.
struct Card {
  explicit Card(unsigned pairs = 1, NetConfig config = {}) : peers(pairs) {
    std::vector<std::unique_ptr<net::Link>> links;
    for (Peer& peer : peers) links.push_back(peer.connect());
    if (config.mac == net::Mac{}) config.mac = guest_mac;
    auto made = Net::create("net0", *memory, std::move(links), config);
    EXPECT_TRUE(made);
    net = made->get();
    guest = std::make_unique<PciGuest>(*memory, std::move(*made));
  }
  void up(u64 features) {
    guest->bring_up(features);
  }

  /// Puts header and frame into guest memory at `at` and offers them in pieces.
  void offer(unsigned queue, u64 at, const Frame& frame, net::Header header = {}, bool indirect = false, unsigned pieces = 2) {
    (void)memory->write(Gpa(at), std::span(reinterpret_cast<const u8*>(&header), sizeof header));
    (void)memory->write(Gpa(at + 12), frame);
    std::vector<GuestBuffer> buffers{{at, 12}};
    u64 from = at + 12, left = frame.size();
    for (unsigned i = 1; i < pieces; ++i) {
      const u32 part = static_cast<u32>(i + 1 == pieces ? left : left / 2);
      if (part == 0) continue;
      buffers.push_back({from, part});
      from += part;
      left -= part;
    }
    ASSERT_TRUE(guest->queues[queue]->add(buffers, indirect));
  }
  bool transmit(const Frame& frame, net::Header header = {}, unsigned queue = 1) {
    offer(queue, data_base, frame, header);
    guest->kick(queue);
    return guest->finished(queue).has_value();
  }
  void post(unsigned count, u32 size, unsigned queue = 0, u64 at = data_base + MiB) {
    for (unsigned i = 0; i < count; ++i) {
      if (!guest->queues[queue]->add({{at + u64{posted++} * size, size, true}})) break;
    }
    guest->kick(queue);
  }
  std::vector<u8> bytes(u64 at, std::size_t size) const {
    std::vector<u8> out(size);
    EXPECT_TRUE(memory->read(Gpa(at), out));
    return out;
  }
  /// A command on the control queue; its answer.
  int command(u8 kind, u8 number, std::vector<u8> data) {
    const unsigned queue = static_cast<unsigned>(guest->queues.size()) - 1;
    const u64 at = data_base + 12 * MiB;
    data.insert(data.begin(), {kind, number});
    (void)memory->write(Gpa(at), data);
    (void)memory->write_value<u8>(Gpa(at + 0x8000), 0xee);
    if (!guest->request(queue, {{at, static_cast<u32>(data.size())}, {at + 0x8000, 1, true}})) return -1;
    return *memory->read_value<u8>(Gpa(at + 0x8000));
  }

  std::unique_ptr<memory::GuestMemory> memory = *memory::GuestMemory::create(guest_ram);
  std::vector<Peer> peers;
  Net* net = nullptr;
  std::unique_ptr<PciGuest> guest;
  unsigned posted = 0;
};

}  // namespace nagaya::virtio::testing
