// The whole of a network's process but its jail, against guests made by hand.
#include "netd/server.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <random>

#include "netd/guest_test_util.hpp"

namespace nagaya::netd {
namespace {

using ::testing::HasSubstr;

constexpr u8 fin = 1, syn = 2, rst = 4, psh = 8, ack = 16;
const net::Ip4 guest_address{0x0a00020f}, gateway_address{0x0a000202};
const net::Mac gateway_mac = {0x52, 0x55, 10, 0, 2, 2};

/// A listener on the host's loopback; the port is the kernel's choice.
struct Listener {
  explicit Listener(int type = SOCK_STREAM) : fd(::socket(AF_INET, type | SOCK_CLOEXEC, 0)) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof a;
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&a), size), 0);
    if (type == SOCK_STREAM && ::listen(fd.get(), 8) != 0) ADD_FAILURE() << "listen";
    EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&a), &size), 0);
    port = ntohs(a.sin_port);
  }
  host::Fd fd;
  u16 port = 0;
};

u16 free_port() { return Listener().port; }

int connect_to(u16 port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_TRUE(::connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0 || errno == EINPROGRESS);
  return fd;
}

u8 tcp_flags(const Packet& p) {
  const auto at = find_transport(p.frame);
  return at && at->protocol == protocol_tcp ? p.frame[at->transport + 13] : u8{0};
}
u32 tcp_sequence(const Packet& p) { return get32(&p.frame[find_transport(p.frame)->transport + 4]); }
std::vector<u8> payload_of(const Packet& p) {
  const auto at = find_transport(p.frame);
  return {p.frame.begin() + static_cast<long>(at->payload), p.frame.begin() + static_cast<long>(at->end)};
}
std::vector<u8> bytes(std::string_view text) { return {text.begin(), text.end()}; }

class UserNetwork : public ::testing::Test {
 protected:
  explicit UserNetwork(GatewayConfig config = {}) : server_(Server::create({.gateway = config, .mtu = config.mtu}).value()) {}
  std::unique_ptr<Server> server_;
};

/// One connection from a guest, whose every packet is written out.
struct Connection {
  Guest& guest;
  net::Ip4 from, to;
  u16 here, there;
  u32 seq = 1000, acked = 0;

  void send(u8 flags, std::span<const u8> payload = {}, u16 mss = 0) {
    guest.send({}, guest.ip(gateway_mac, from, to, protocol_tcp, Guest::tcp(here, there, seq, acked, flags, payload, mss)));
    seq += static_cast<u32>(payload.size()) + (flags & (syn | fin) ? 1 : 0);
  }
  bool open() {
    // Who asks for the gateway's address tells its own.
    guest.send({}, guest.arp(from, to));
    send(syn, {}, 1460);
    const auto answer = guest.wait([](const Packet& p) { return (tcp_flags(p) & (syn | rst)) != 0; });
    if (!answer || tcp_flags(*answer) & rst) return false;
    EXPECT_TRUE(Guest::sound(*answer));
    acked = tcp_sequence(*answer) + 1;
    send(ack);
    return true;
  }
};

TEST_F(UserNetwork, SaysWhatItCanReceive) {
  Guest guest(*server_, 1);
  guest.offloads(0);
  (void)guest.all();
  EXPECT_TRUE(guest.told_offloads);
}

TEST_F(UserNetwork, TheGatewayAnswersArp) {
  Guest guest(*server_, 1);
  guest.send({}, guest.arp(guest_address, gateway_address));
  const auto answer = guest.wait([](const Packet& p) { return p.frame.size() >= 42 && get16(&p.frame[12]) == ethertype_arp && p.frame[21] == 2; });
  ASSERT_TRUE(answer);
  EXPECT_TRUE(std::equal(gateway_mac.begin(), gateway_mac.end(), answer->frame.begin() + 22));
}

TEST_F(UserNetwork, EachGuestHasItsOwnAddress) {
  Guest one(*server_, 1), two(*server_, 2);
  EXPECT_EQ(one.hello({.mac = "52:54:00:00:00:01", .name = "one"}).address, "10.0.2.15/24");
  EXPECT_EQ(two.hello({.mac = "52:54:00:00:00:02"}).address, "10.0.2.16/24");
  
  one.leave();
  (void)two.all();
  EXPECT_EQ(server_->machines(), 1u);
  Guest three(*server_, 3);
  const auto welcome = three.hello({.mac = "52:54:00:00:00:03"});
  EXPECT_EQ(welcome.address, "10.0.2.15/24");
  EXPECT_EQ(welcome.mtu, 32000u);
}

TEST_F(UserNetwork, OneStationAddressForOneMachine) {
  Guest one(*server_, 1), two(*server_, 2);
  EXPECT_EQ(one.hello({.mac = "52:54:00:00:00:01"}).error, "");
  EXPECT_THAT(two.hello({.mac = "52:54:00:00:00:01"}).error, HasSubstr("already"));
  (void)two.all();
  EXPECT_EQ(server_->machines(), 1u);
}

TEST_F(UserNetwork, AGuestReachesAServerOnTheHostsLoopback) {
  Listener listener;
  Guest guest(*server_, 1);
  Connection c{guest, guest_address, gateway_address, 40000, listener.port};
  ASSERT_TRUE(c.open());
  c.send(psh | ack, bytes("hello"));
  ASSERT_TRUE(guest.wait([&](const Packet& p) { return tcp_flags(p) & ack && get32(&p.frame[find_transport(p.frame)->transport + 8]) == c.seq; }));
  const host::Fd accepted(::accept(listener.fd.get(), nullptr, nullptr));
  char text[6] = {};
  EXPECT_EQ(::recv(accepted.get(), text, 5, MSG_WAITALL), 5);
  EXPECT_STREQ(text, "hello");
  EXPECT_EQ(::send(accepted.get(), "world!", 6, MSG_NOSIGNAL), 6);
  const auto answer = guest.wait([](const Packet& p) { return tcp_flags(p) != 0 && !payload_of(p).empty(); });
  ASSERT_TRUE(answer);
  EXPECT_EQ(payload_of(*answer), bytes("world!"));
  EXPECT_TRUE(Guest::sound(*answer));
}

TEST_F(UserNetwork, ALargeSegmentWithAPartialChecksumArrivesWhole) {
  Listener listener;
  Guest guest(*server_, 1);
  Connection c{guest, guest_address, gateway_address, 40001, listener.port};
  ASSERT_TRUE(c.open());
  std::vector<u8> data(60'000);
  std::mt19937 random(7);
  for (u8& b : data) b = static_cast<u8>(random());
  const auto frame = guest.ip(gateway_mac, guest_address, gateway_address, protocol_tcp, Guest::tcp(c.here, c.there, c.seq, c.acked, psh | ack, data), false);
  guest.send({.flags = net::flag::needs_csum, .gso_type = net::gso::tcp4, .hdr_len = 54, .gso_size = 1460, .csum_start = 34, .csum_offset = 16}, frame);
  ASSERT_TRUE(guest.wait([&](const Packet& p) { return tcp_flags(p) & ack; }));
  const host::Fd accepted(::accept(listener.fd.get(), nullptr, nullptr));
  std::vector<u8> got(data.size());
  std::size_t have = 0;
  while (have < got.size()) {
    const ssize_t n = ::recv(accepted.get(), got.data() + have, got.size() - have, MSG_DONTWAIT);
    if (n > 0) {
      have += static_cast<std::size_t>(n);
    } else if (guest.all(1).empty() && n == 0) {
      break;
    }
  }
  EXPECT_EQ(got, data);
}

TEST_F(UserNetwork, APublishedPortReachesTheGuestAndGoesWithIt) {
  const u16 port = free_port();
  Guest guest(*server_, 1);
  const auto welcome = guest.hello({.mac = "52:54:00:00:00:01", .publish = {{.address = {INADDR_LOOPBACK}, .host = port, .guest = 80}}});
  ASSERT_EQ(welcome.error, "");
  const host::Fd client(connect_to(port));
  // The gateway asks who has the address, then opens the connection.
  ASSERT_TRUE(guest.wait([](const Packet& p) { return p.frame.size() >= 42 && get16(&p.frame[12]) == ethertype_arp; }));
  guest.send({}, guest.arp(guest_address, gateway_address));
  const auto opening = guest.wait([](const Packet& p) { return tcp_flags(p) == syn; });
  ASSERT_TRUE(opening);
  EXPECT_EQ(get16(&opening->frame[find_transport(opening->frame)->transport + 2]), 80);
  EXPECT_EQ(get32(&opening->frame[14 + 16]), guest_address.value);

  // Another machine cannot have the port; it is free again when the first has gone.
  Guest other(*server_, 2);
  EXPECT_THAT(other.hello({.publish = {{.address = {INADDR_LOOPBACK}, .host = port, .guest = 80}}}).error, HasSubstr("cannot publish"));
  guest.leave();
  Guest third(*server_, 3);
  (void)third.all();
  EXPECT_EQ(third.hello({.publish = {{.address = {INADDR_LOOPBACK}, .host = port, .guest = 80}}}).error, "");
}

TEST_F(UserNetwork, AnotherMachinesAddressCannotBeClaimed) {
  Guest one(*server_, 1), two(*server_, 2);
  ASSERT_EQ(one.hello({}).error, "");
  ASSERT_EQ(two.hello({}).error, "");
  (void)one.all();
  two.send({}, two.arp(guest_address, gateway_address));
  two.send({}, two.arp(gateway_address, guest_address));
  EXPECT_TRUE(one.all().empty());
  two.send({}, two.arp({guest_address.value + 1}, guest_address));
  EXPECT_EQ(one.all().size(), 1u);
}

struct Restricted : UserNetwork {
  Restricted() : UserNetwork({.restricted = true}) {}
};
TEST_F(Restricted, NothingGoesOut) {
  Listener listener;
  Guest guest(*server_, 1);
  Connection c{guest, guest_address, gateway_address, 40002, listener.port};
  guest.send({}, guest.arp(guest_address, gateway_address));
  c.send(syn, {}, 1460);
  EXPECT_FALSE(guest.wait([](const Packet& p) { return (tcp_flags(p) & ack) != 0 && !(tcp_flags(p) & rst); }, 10));
}

struct NoLoopback : UserNetwork {
  NoLoopback() : UserNetwork({.host_loopback = false}) {}
};
TEST_F(NoLoopback, TheHostsLoopbackIsOutOfReach) {
  Listener listener;
  Guest guest(*server_, 1);
  Connection c{guest, guest_address, gateway_address, 40003, listener.port};
  EXPECT_FALSE(c.open());
}

TEST(Isolated, GuestsSeeEachOtherAndNothingElse) {
  const auto server = Server::create({}).value();
  Guest one(*server, 1), two(*server, 2);
  EXPECT_EQ(one.hello({.mac = "52:54:00:00:00:01"}).error, "");
  EXPECT_THAT(two.hello({.publish = {{.host = 8080, .guest = 80}}}).error, HasSubstr("no way in or out"));
  Guest three(*server, 3);
  three.offloads(0);
  (void)three.all();
  one.send({}, one.arp(guest_address, gateway_address));
  EXPECT_EQ(three.all().size(), 1u);
  EXPECT_TRUE(one.all().empty());
}

TEST(Isolated, OffloadsAreDoneForWhoCannot) {
  const auto server = Server::create({}).value();
  Guest one(*server, 1), plain(*server, 2), able(*server, 3);
  one.offloads(net::offload::all);
  plain.offloads(0);
  able.offloads(net::offload::all);
  (void)one.all(), (void)plain.all(), (void)able.all();
  std::vector<u8> data(5000);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<u8>(i * 7);
  const auto frame = one.ip(Guest::everybody, guest_address, {guest_address.value + 1}, protocol_tcp, Guest::tcp(1, 2, 100, 0, psh | ack | fin, data), false);
  const net::Header header{.flags = net::flag::needs_csum, .gso_type = net::gso::tcp4, .hdr_len = 54, .gso_size = 1448, .csum_start = 34, .csum_offset = 16};
  one.send(header, frame);
  const auto cut = plain.all();
  ASSERT_EQ(cut.size(), 4u);
  std::vector<u8> together;
  for (const Packet& p : cut) {
    EXPECT_TRUE(Guest::sound(p));
    EXPECT_EQ(p.header, net::Header{});
    EXPECT_EQ(tcp_sequence(p), 100 + together.size());
    EXPECT_EQ((tcp_flags(p) & fin) != 0, &p == &cut.back());
    const auto part = payload_of(p);
    together.insert(together.end(), part.begin(), part.end());
  }
  EXPECT_EQ(together, data);
  const auto whole = able.all();
  ASSERT_EQ(whole.size(), 1u);
  EXPECT_EQ(whole[0].header, header);
  EXPECT_EQ(whole[0].frame, frame);
}

TEST(Isolated, AGuestThatDoesNotReadCostsABoundedAmountAndNotTheOthers) {
  const auto server = Server::create({}).value();
  Guest one(*server, 1), stuck(*server, 2), alive(*server, 3);
  for (Guest* g : {&one, &stuck, &alive}) g->offloads(0);
  (void)one.all(), (void)alive.all();
  const auto frame = one.ip(Guest::everybody, guest_address, {guest_address.value + 1}, protocol_udp, Guest::udp(1, 2, std::vector<u8>(60'000)));
  std::size_t heard = 0;
  for (unsigned i = 0; i < 300; ++i) {
    one.send({}, frame);
    for (const Packet& p : alive.all(1)) heard += p.frame.size() == frame.size();
  }
  heard += alive.all().size();
  EXPECT_EQ(heard, 300u);
  // What waited for it, it gets when it reads again, and no more than that.
  const std::size_t late = stuck.all(50).size();
  EXPECT_GT(late, 0u);
  EXPECT_LT(late, 150u);
}

TEST(Nonsense, IsDroppedAndTheNetworkGoesOn) {
  const auto server = Server::create({.gateway = GatewayConfig{}, .mtu = 1500}).value();
  Guest guest(*server, 1);
  guest.offloads(0);
  std::mt19937 random(1);
  const auto sound = guest.ip(gateway_mac, guest_address, gateway_address, protocol_tcp, Guest::tcp(1, 2, 3, 4, syn, {}, 1460));
  for (unsigned round = 0; round < 3000; ++round) {
    net::Header header{.flags = static_cast<u8>(random()), .gso_type = static_cast<u8>(random() % 7), .hdr_len = static_cast<u16>(random()),
                       .gso_size = static_cast<u16>(random() % 3 == 0 ? random() : random() % 100), .csum_start = static_cast<u16>(random() % 80),
                       .csum_offset = static_cast<u16>(random() % 20)};
    if (round % 2 == 0) header = {};
    auto frame = sound;
    for (unsigned flips = random() % 6; flips > 0; --flips) frame[random() % frame.size()] = static_cast<u8>(random());
    if (round % 5 == 0) frame.resize(random() % 200 + 1);
    guest.send(header, frame);
    if (round % 8 == 0) (void)guest.all(1);
  }
  for (std::size_t size : {1u, 3u, 5u, 11u, 12u, 13u, 25u}) guest.send_raw(std::vector<u8>(size, 0xee));
  guest.send_raw(std::vector<u8>(net::largest_message + 100, 0));
  (void)guest.all();
  guest.send({}, guest.arp(guest_address, gateway_address));
  EXPECT_TRUE(guest.wait([](const Packet& p) { return p.frame.size() >= 42 && get16(&p.frame[12]) == ethertype_arp && p.frame[21] == 2; }));
}

TEST(Nonsense, AGreetingThatIsNoneEndsTheConnection) {
  const auto server = Server::create({}).value();
  Guest guest(*server, 1);
  guest.send_raw(bytes("{\"mac\":3}"));
  (void)guest.all();
  EXPECT_EQ(server->machines(), 0u);
}

}  // namespace
}  // namespace nagaya::netd
