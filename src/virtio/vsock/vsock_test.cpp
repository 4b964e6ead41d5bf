#include "virtio/vsock/vsock.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "virtio/contract_test_util.hpp"

namespace nagaya::virtio {
namespace {

using namespace vsock;
using testing::data_base;
using testing::PciGuest;

constexpr u32 buffer = 4096, buffers = 16;
constexpr u64 out_base = data_base + MiB;

/// A path of this process alone.
std::string fresh_path() {
  static int count = 0;
  return (std::filesystem::temp_directory_path() / fmt::format("nagaya-vsock-{}-{}", ::getpid(), count++)).string();
}

struct Packet {
  Header header;
  std::string payload;
};

class VsockTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override { start(); }
  void TearDown() override {
    for (const std::string& each : listening) ::unlink(each.c_str());
  }
  std::unique_ptr<VirtioDevice> make(u64 patience_ns = 10'000'000'000) {
    auto made = Vsock::create("vsock0", *memory, {.cid = 3, .path = path, .patience_ns = patience_ns});
    EXPECT_TRUE(made) << made.error().message();
    return std::move(*made);
  }
  void start(u64 patience_ns = 10'000'000'000) {
    guest.reset();
    guest = std::make_unique<PciGuest>(*memory, make(patience_ns));
    begin();
  }
  void begin() {
    guest->bring_up(GetParam() ? ~u64{0} : ~f_packed);
    places.clear();
    for (u32 i = 0; i < buffers; ++i) offer(data_base + i * buffer);
    guest->kick(0);
  }
  void offer(u64 at) {
    const auto id = guest->queues[0]->add({{at, buffer, true}});
    ASSERT_TRUE(id);
    places[*id] = at;
  }
  /// The next packet to the guest; its buffer goes back into the ring.
  std::optional<Packet> receive(bool wait = true) {
    std::optional<testing::Used> used;
    const auto look = [&] { return (used = guest->queues[0]->take()).has_value(); };
    if (!(wait ? testing::eventually(look) : look())) return {};
    std::array<u8, header_size> bytes;
    EXPECT_TRUE(memory->read(Gpa(places[used->id]), bytes));
    Packet out{Header::decode(bytes), ""};
    EXPECT_EQ(used->length, header_size + out.header.length);
    out.payload.resize(out.header.length);
    EXPECT_TRUE(memory->read(Gpa(places[used->id] + header_size), std::span(reinterpret_cast<u8*>(out.payload.data()), out.payload.size())));
    offer(places[used->id]);
    guest->kick(0);
    return out;
  }
  Packet expect(Op op) {
    auto packet = receive();
    EXPECT_TRUE(packet) << "no packet";
    if (!packet) return {};
    EXPECT_EQ(packet->header.op, static_cast<u16>(op));
    EXPECT_EQ(packet->header.src_cid, 2u);
    EXPECT_EQ(packet->header.dst_cid, 3u);
    return *packet;
  }
  void send(Op op, u32 guest_port, u32 host_port, std::string_view payload = {}, u32 flags = 0, Type type = Type::stream) {
    Header header{3, 2, guest_port, host_port, static_cast<u32>(payload.size()), static_cast<u16>(type), static_cast<u16>(op), flags, guest_room, taken};
    send_raw(header, payload);
  }
  void send_raw(const Header& header, std::string_view payload = {}) {
    ASSERT_TRUE(memory->write(Gpa(out_base), header.encode()));
    ASSERT_TRUE(memory->write(Gpa(out_base + header_size), std::span(reinterpret_cast<const u8*>(payload.data()), payload.size())));
    std::vector<testing::GuestBuffer> parts{{out_base, header_size}};
    if (!payload.empty()) parts.push_back({out_base + header_size, static_cast<u32>(payload.size())});
    ASSERT_TRUE(guest->request(1, parts));
  }
  host::Fd client(const std::string& line = "CONNECT 1024\n") {
    auto fd = host::Fd::connect_unix(path);
    EXPECT_TRUE(fd) << fd.error().message();
    // The device may have hung up already, where it has no use for the client.
    const ssize_t sent = ::send(fd->get(), line.data(), line.size(), MSG_NOSIGNAL);
    EXPECT_TRUE(sent == static_cast<ssize_t>(line.size()) || errno == EPIPE);
    return std::move(*fd);
  }
  static std::string read_some(const host::Fd& fd) {
    std::string out(65536, 0);
    const ssize_t n = ::read(fd.get(), out.data(), out.size());
    return out.substr(0, n > 0 ? static_cast<std::size_t>(n) : 0);
  }
  /// A listener where the guest's connections to `port` go.
  host::Fd listener(u32 port, int kind = SOCK_STREAM) {
    const std::string at = path + "_" + std::to_string(port);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, at.data(), at.size());
    host::Fd fd(::socket(AF_UNIX, kind | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(fd.get(), 16), 0);
    listening.push_back(at);
    return fd;
  }
  /// An open connection that the host began; its port on the host.
  std::pair<host::Fd, u32> opened() {
    host::Fd fd = client();
    const u32 port = expect(Op::request).header.src_port;
    send(Op::response, 1024, port);
    EXPECT_EQ(read_some(fd), fmt::format("OK {}\n", port));
    return {std::move(fd), port};
  }
  Vsock& device() { return static_cast<Vsock&>(guest->pci->device()); }

  const std::string path = fresh_path();
  u32 guest_room = 65536, taken = 0;
  std::vector<std::string> listening;
  std::unique_ptr<memory::GuestMemory> memory = *memory::GuestMemory::create(testing::guest_ram);
  std::map<u16, u64> places;
  std::unique_ptr<PciGuest> guest;
};

TEST_P(VsockTest, TellsItsCid) {
  EXPECT_EQ(guest->load(0x2000, 4), 3u);
  EXPECT_EQ(guest->load(0x2004, 4), 0u);
  EXPECT_EQ(guest->load(0x2040, 4), 0u);
}

TEST_P(VsockTest, TheHostConnects) {
  host::Fd fd = client("CONNECT 1024\nfirst");
  const Packet request = expect(Op::request);
  EXPECT_EQ(request.header.dst_port, 1024u);
  EXPECT_EQ(request.header.buf_alloc, buffer_size);
  const u32 port = request.header.src_port;
  send(Op::response, 1024, port);
  EXPECT_EQ(read_some(fd), fmt::format("OK {}\n", port));
  EXPECT_EQ(expect(Op::rw).payload, "first");
  ASSERT_TRUE(host::write_all(fd.get(), "second"));
  EXPECT_EQ(expect(Op::rw).payload, "second");
  send(Op::rw, 1024, port, "answer");
  EXPECT_EQ(read_some(fd), "answer");
  // The client goes: both directions end, and the guest's reset ends the connection.
  fd.reset();
  EXPECT_EQ(expect(Op::shutdown).header.flags, shutdown_both);
  send(Op::rst, 1024, port);
  EXPECT_TRUE(testing::eventually([&] { return device().connections() == 0; }));
}

TEST_P(VsockTest, AnEventIsAsGoodAsANotification) {
  ASSERT_TRUE(memory->write(Gpa(out_base), Header{3, 2, 1, 1, 0, 1, static_cast<u16>(Op::rw)}.encode()));
  ASSERT_TRUE(guest->queues[1]->add({{out_base, header_size}}));
  host::signal_eventfd(guest->pci->device().notify_event(1));
  expect(Op::rst);
}

TEST_P(VsockTest, ARefusalEndsTheClient) {
  host::Fd fd = client();
  const u32 port = expect(Op::request).header.src_port;
  send(Op::rst, 1024, port);
  EXPECT_EQ(read_some(fd), "");
  for (const char* line : {"HELLO\n", "CONNECT\n", "CONNECT x\n", "CONNECT 1 2\n", "CONNECT 99999999999\n", "CONNECT -1\n", "CONNECT 4294967295\n",
                           "a line that is longer than any that makes sense\n"}) {
    EXPECT_EQ(read_some(client(line)), "") << line;
  }
  EXPECT_EQ(device().connections(), 0u);
}

TEST_P(VsockTest, HalfClosedBothWays) {
  auto [fd, port] = opened();
  ::shutdown(fd.get(), SHUT_WR);
  EXPECT_EQ(expect(Op::shutdown).header.flags, shutdown_send);
  send(Op::rw, 1024, port, "still");
  EXPECT_EQ(read_some(fd), "still");
  send(Op::shutdown, 1024, port, "", shutdown_send);
  EXPECT_EQ(read_some(fd), "");
  send(Op::shutdown, 1024, port, "", shutdown_both);
  expect(Op::rst);
  EXPECT_EQ(device().connections(), 0u);
}

TEST_P(VsockTest, WhatWasWrittenBeforeTheEndArrives) {
  auto [fd, port] = opened();
  const std::string text(30000, 'x');
  ASSERT_TRUE(host::write_all(fd.get(), text));
  fd.reset();
  std::string got;
  for (;;) {
    auto packet = receive();
    ASSERT_TRUE(packet);
    if (packet->header.op == static_cast<u16>(Op::shutdown)) break;
    got += packet->payload;
  }
  EXPECT_EQ(got, text);
}

TEST_P(VsockTest, TheGuestsCreditIsKept) {
  guest_room = 1000;
  auto [fd, port] = opened();
  ASSERT_TRUE(host::write_all(fd.get(), std::string(2500, 'c')));
  EXPECT_EQ(expect(Op::rw).payload.size(), 1000u);
  expect(Op::credit_request);
  EXPECT_FALSE(receive(false));
  taken = 1000;
  send(Op::credit_update, 1024, port);
  EXPECT_EQ(expect(Op::rw).payload.size(), 1000u);
  expect(Op::credit_request);
  taken = 2000;
  send(Op::credit_update, 1024, port);
  EXPECT_EQ(expect(Op::rw).payload.size(), 500u);
}

TEST_P(VsockTest, OurCreditIsKeptOrTheConnectionEnds) {
  auto [fd, port] = opened();
  // The client reads nothing: what the socket does not take is held, up to the credit.
  const std::string part(32768, 'p');
  u32 sent = 0, forwarded = 0;
  while (sent - forwarded + part.size() <= buffer_size) {
    send(Op::rw, 1024, port, part);
    sent += static_cast<u32>(part.size());
    while (auto packet = receive(false)) {
      ASSERT_EQ(packet->header.op, static_cast<u16>(Op::credit_update));
      forwarded = packet->header.fwd_cnt;
    }
    if (sent > 4 * MiB) FAIL() << "the socket takes everything";
    send(Op::credit_request, 1024, port);
    forwarded = expect(Op::credit_update).header.fwd_cnt;
  }
  // A reader gets all of it, and the guest hears of the room.
  std::size_t got = 0;
  while (got < sent) got += read_some(fd).size();
  EXPECT_EQ(got, sent);
  EXPECT_GT(expect(Op::credit_update).header.fwd_cnt, forwarded);
  // More than allowed.
  for (int i = 0; i < 200; ++i) {
    send(Op::rw, 1024, port, part);
    if (auto packet = receive(false); packet && packet->header.op == static_cast<u16>(Op::rst)) return;
  }
  FAIL() << "no limit";
}

TEST_P(VsockTest, TheGuestConnects) {
  host::Fd server = listener(77);
  send(Op::request, 5000, 77);
  host::Fd fd(::accept(server.get(), nullptr, nullptr));
  EXPECT_EQ(expect(Op::response).header.dst_port, 5000u);
  send(Op::rw, 5000, 77, "ping");
  EXPECT_EQ(read_some(fd), "ping");
  ASSERT_TRUE(host::write_all(fd.get(), "pong"));
  EXPECT_EQ(expect(Op::rw).payload, "pong");
  send(Op::shutdown, 5000, 77, "", shutdown_both);
  expect(Op::rst);
  EXPECT_EQ(read_some(fd), "");
  send(Op::request, 5001, 78);
  EXPECT_EQ(expect(Op::rst).header.dst_port, 5001u);
}

TEST_P(VsockTest, MessagesKeepTheirBorders) {
  host::Fd server = listener(9, SOCK_SEQPACKET);
  send(Op::request, 6000, 9, "", 0, Type::seqpacket);
  host::Fd fd(::accept(server.get(), nullptr, nullptr));
  EXPECT_EQ(expect(Op::response).header.type, 2u);
  send(Op::rw, 6000, 9, "one ", 0, Type::seqpacket);
  send(Op::rw, 6000, 9, "message", end_of_message, Type::seqpacket);
  send(Op::rw, 6000, 9, "another", end_of_message, Type::seqpacket);
  EXPECT_EQ(read_some(fd), "one message");
  EXPECT_EQ(read_some(fd), "another");
  const std::string big(10000, 'm');
  ASSERT_EQ(::send(fd.get(), big.data(), big.size(), 0), 10000);
  ASSERT_EQ(::send(fd.get(), "x", 1, 0), 1);
  std::string got;
  for (u32 flags = 0; flags == 0;) {
    const Packet packet = expect(Op::rw);
    got += packet.payload;
    flags = packet.header.flags;
    ASSERT_FALSE(packet.payload.empty());
  }
  EXPECT_EQ(got, big);
  const Packet last = expect(Op::rw);
  EXPECT_EQ(last.payload, "x");
  EXPECT_EQ(last.header.flags, end_of_message);
}

TEST_P(VsockTest, NonsenseIsRefused) {
  auto [fd, port] = opened();
  // Unknown connections, types, addresses: a reset; never an answer to a reset.
  send(Op::rw, 1, 1, "x");
  expect(Op::rst);
  send(Op::rst, 1, 1);
  send(Op::request, 1, 1, "", 0, static_cast<Type>(7));
  EXPECT_EQ(expect(Op::rst).header.type, 7u);
  send_raw({3, 9, 1, 1, 0, 1, static_cast<u16>(Op::request)});
  auto packet = receive();
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->header.src_cid, 9u);
  // Somebody else's packet is nobody's.
  send_raw({4, 2, 1024, port, 0, 1, static_cast<u16>(Op::rst)});
  send(static_cast<Op>(99), 1024, port);
  expect(Op::rst);
  EXPECT_EQ(read_some(fd), "");
  EXPECT_EQ(device().connections(), 0u);
}

TEST_P(VsockTest, PacketsThatLieBreakTheDevice) {
  for (int how = 0; how < 3; ++how) {
    start();
    if (how == 0) send_raw({3, 2, 1, 1, 100, 1, static_cast<u16>(Op::rw)}, "short");
    if (how == 1) guest->request(1, {{out_base, 20}});
    if (how == 2) {
      guest->bring_up(GetParam() ? ~u64{0} : ~f_packed);
      guest->queues[0]->add({{data_base, 20, true}});
      guest->kick(0);
      send(Op::rw, 1, 1, "x");
    }
    EXPECT_TRUE(testing::eventually([&] { return guest->status() & status::needs_reset; })) << how;
  }
}

TEST_P(VsockTest, AFloodOfRefusalsIsBounded) {
  // A driver that takes no answers gets no further than so many packets.
  guest->bring_up(GetParam() ? ~u64{0} : ~f_packed, 256);
  unsigned done = 0;
  ASSERT_TRUE(memory->write(Gpa(out_base), Header{3, 2, 1, 1, 0, 1, static_cast<u16>(Op::rw)}.encode()));
  for (int round = 0; round < 8; ++round) {
    while (guest->queues[1]->add({{out_base, header_size}})) {
    }
    guest->kick(1);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    while (guest->queues[1]->take()) ++done;
  }
  EXPECT_GE(done, 100u);
  EXPECT_LE(done, 256u);
  // It goes on when there is room.
  for (u32 i = 0; i < 200; ++i) guest->queues[0]->add({{data_base + (i % buffers) * buffer, buffer, true}});
  guest->kick(0);
  EXPECT_TRUE(testing::eventually([&] {
    while (guest->queues[1]->take()) ++done;
    return done > 256;
  }));
}

TEST_P(VsockTest, ConnectionsAreBounded) {
  std::vector<host::Fd> clients;
  for (std::size_t i = 0; i < Vsock::most_connections + 20; ++i) {
    auto fd = host::Fd::connect_unix(path);
    if (fd) clients.push_back(std::move(*fd));
  }
  EXPECT_TRUE(testing::eventually([&] { return device().connections() == Vsock::most_connections; }));
  clients.clear();
  EXPECT_TRUE(testing::eventually([&] { return device().connections() == 0; }));
  auto [fd, port] = opened();
}

TEST_P(VsockTest, NoAnswerTimesOut) {
  start(1);
  host::Fd fd = client();
  const u32 port = expect(Op::request).header.src_port;
  EXPECT_EQ(read_some(fd), "");
  EXPECT_EQ(expect(Op::rst).header.src_port, port);
  EXPECT_EQ(read_some(*host::Fd::connect_unix(path)), "") << "a client that says nothing";
}

TEST_P(VsockTest, NobodyIsThereBeforeTheDriver) {
  guest->set_status(0);
  EXPECT_EQ(read_some(client()), "");
}

TEST_P(VsockTest, ARestoredGuestHearsOfTheLoss) {
  auto [fd, port] = opened();
  guest->queues[2]->add({{data_base + 2 * MiB, 8, true}});
  (void)memory->write_value<u32>(Gpa(data_base + 2 * MiB), 0xffff);
  const auto state = bus::testing::saved(*guest->pci);
  EXPECT_FALSE(guest->queues[2]->take());
  guest->pci->pause();
  const std::string first = path;
  auto made = Vsock::create("vsock0", *memory, {.cid = 3, .path = fresh_path()});
  ASSERT_TRUE(made);
  PciGuest other(*memory, std::move(*made));
  ASSERT_TRUE(bus::testing::restored(*other.pci, state));
  EXPECT_EQ(guest->finished(2), 4u);
  EXPECT_EQ(*memory->read_value<u32>(Gpa(data_base + 2 * MiB)), event_transport_reset);
}

TEST_P(VsockTest, PauseKeepsConnections) {
  auto [fd, port] = opened();
  guest->pci->pause();
  ASSERT_TRUE(host::write_all(fd.get(), "held"));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(receive(false));
  guest->pci->resume();
  EXPECT_EQ(expect(Op::rw).payload, "held");
}

/// Bytes that differ along the way.
std::string pattern(std::size_t size) {
  std::string out(size, 0);
  u64 value = 88172645463325252;
  for (char& c : out) {
    value ^= value << 13, value ^= value >> 7, value ^= value << 17;
    c = static_cast<char>(value);
  }
  return out;
}

TEST_P(VsockTest, ABigEchoComesBackAsItWas) {
  auto [fd, port] = opened();
  const std::string data = pattern(8 * MiB);
  std::jthread writer([&, at = fd.get()] { EXPECT_TRUE(host::write_all(at, data)); });
  std::string back;
  std::jthread reader([&, at = fd.get()] {
    back.resize(data.size());
    EXPECT_EQ(*host::read_up_to(at, std::span(reinterpret_cast<u8*>(back.data()), back.size())), data.size());
  });
  u32 sent = 0, room = buffer_size, told = 0;
  std::string waiting;
  while (sent < data.size()) {
    auto packet = receive();
    ASSERT_TRUE(packet) << sent;
    told = packet->header.fwd_cnt;
    waiting += packet->payload;
    taken += packet->header.length;
    if (packet->header.op != static_cast<u16>(Op::rw)) {
      ASSERT_TRUE(packet->header.op == static_cast<u16>(Op::credit_update) || packet->header.op == static_cast<u16>(Op::credit_request));
    }
    const std::size_t most = std::min<std::size_t>(waiting.size(), room - (sent - told));
    send(most != 0 ? Op::rw : Op::credit_update, 1024, port, std::string_view(waiting).substr(0, most));
    waiting.erase(0, most);
    sent += static_cast<u32>(most);
  }
  reader.join();
  EXPECT_TRUE(back == data);
}

TEST_P(VsockTest, ResetsInTheMiddleOfTraffic) {
  for (int round = 0; round < 20; ++round) {
    std::vector<host::Fd> clients;
    for (int i = 0; i < 4; ++i) clients.push_back(client());
    for (int i = 0; i < 4; ++i) {
      auto packet = receive();
      ASSERT_TRUE(packet);
      send(Op::response, 1024, packet->header.src_port);
      send(Op::rw, 1024, packet->header.src_port, "data");
    }
    for (auto& fd : clients) (void)!::send(fd.get(), "in flight", 9, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (round % 2) std::this_thread::sleep_for(std::chrono::microseconds(200 * round));
    guest->set_status(0);
    EXPECT_EQ(device().connections(), 0u);
    for (auto& fd : clients) {
      while (!read_some(fd).empty()) {
      }
    }
    begin();
  }
}

INSTANTIATE_TEST_SUITE_P(Rings, VsockTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Packed" : "Split"; });

TEST(Vsock, Contract) {
  testing::check_virtio_contract([](memory::GuestMemory& memory) -> std::unique_ptr<VirtioDevice> {
    auto made = Vsock::create("vsock0", memory, {.cid = 3, .path = fresh_path()});
    EXPECT_TRUE(made) << made.error().message();
    return std::move(*made);
  });
}

}  // namespace
}  // namespace nagaya::virtio
