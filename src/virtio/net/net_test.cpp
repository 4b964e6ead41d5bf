#include "virtio/net/net.hpp"

#include <gtest/gtest.h>

#include <set>

#include "virtio/net/peer_test_util.hpp"

namespace nagaya::virtio {
namespace {

using namespace net_layout;
using testing::Card;
using testing::data_base;
using testing::eventually;
using testing::Frame;
using testing::frame_of;
using testing::Peer;
namespace offload = net::offload;

struct NetTest : ::testing::TestWithParam<bool> {
  [[nodiscard]] u64 features(u64 without = 0) const { return (GetParam() ? ~u64{0} : ~f_packed) & ~without; }
};

net::Header tcp4(u16 gso_size) {
  return {.flags = net::flag::needs_csum, .gso_type = net::gso::tcp4, .hdr_len = 54, .gso_size = gso_size, .csum_start = 34, .csum_offset = 16};
}

/// An IPv4 TCP packet that asks to be cut.
Frame tcp_frame(std::size_t payload) {
  Frame out = frame_of(54 + payload);
  out[12] = 0x08;
  out[13] = 0x00;
  out[14] = 0x45;
  out[16] = static_cast<u8>((40 + payload) >> 8);
  out[17] = static_cast<u8>(40 + payload);
  out[23] = 6;
  out[46] = 0x50;
  out[47] = 0x18;
  return out;
}

TEST_P(NetTest, ShowsWhatItIs) {
  Card card(2, {.mtu = 9000});
  card.up(features());
  for (unsigned i = 0; i < 6; ++i) EXPECT_EQ(card.guest->load(0x2000 + i, 1), testing::guest_mac[i]);
  EXPECT_EQ(card.guest->load(0x2006, 2), status_link_up);
  EXPECT_EQ(card.guest->load(0x2008, 2), 2u);
  EXPECT_EQ(card.guest->load(0x200a, 2), 9000u);
  EXPECT_EQ(card.guest->load(0x2010, 1), 1u);
}

TEST_P(NetTest, FramesLeave) {
  Card card;
  card.up(features());
  std::size_t size = net::ethernet_size;
  for (unsigned i = 0; i < 100; ++i, size = size * 3 % 1500 + 14) {
    const Frame frame = frame_of(size, static_cast<u8>(i));
    card.offer(1, data_base, frame, {}, i % 2, 2 + i % 3);
    card.guest->kick(1);
    ASSERT_TRUE(card.guest->finished(1));
    const auto seen = card.peers[0].receive();
    ASSERT_TRUE(seen);
    EXPECT_EQ(seen->frame, frame);
    EXPECT_EQ(seen->header, net::Header{});
  }
  EXPECT_EQ(card.net->counters().from_guest, 100u);
}

TEST_P(NetTest, FramesArrive) {
  Card card;
  card.up(features());
  for (unsigned i = 0; i < 60; ++i) {
    const Frame frame = frame_of(14 + i * 25, static_cast<u8>(i));
    card.posted = 0;
    card.post(1, 2048);
    ASSERT_TRUE(card.peers[0].send(frame));
    ASSERT_EQ(card.guest->finished(0), frame.size() + 12);
    EXPECT_EQ(card.bytes(data_base + MiB + 12, frame.size()), frame);
    EXPECT_EQ(*card.memory->read_value<u16>(Gpa(data_base + MiB + 10)), 1u);
  }
  EXPECT_EQ(card.net->counters().to_guest, 60u);
}

TEST_P(NetTest, ALargePacketFillsSeveralBuffers) {
  for (const unsigned count : {16u, 4u}) {  // more than any packet needs; just what this one needs
    Card card;
    card.up(features());
    ASSERT_TRUE(card.peers[0].is_told(offload::all));
    const u32 size = count == 16 ? 5000 : 10000;
    card.post(count, size);
    const Frame frame = tcp_frame(33000);
    ASSERT_TRUE(card.peers[0].send(frame, tcp4(1448)));
    const unsigned used = static_cast<unsigned>((frame.size() + 12 + size - 1) / size);
    std::vector<u8> got;
    for (unsigned i = 0; i < used; ++i) {
      const auto length = card.guest->finished(0);
      ASSERT_TRUE(length);
      const auto part = card.bytes(data_base + MiB + i * size, *length);
      got.insert(got.end(), part.begin(), part.end());
    }
    ASSERT_EQ(got.size(), frame.size() + 12);
    EXPECT_TRUE(std::equal(frame.begin(), frame.end(), got.begin() + 12));
    EXPECT_EQ(got[10] | got[11] << 8, static_cast<int>(used));
    EXPECT_EQ(got[1], net::gso::tcp4);
  }
}

TEST_P(NetTest, WithoutMergeableBuffersOnePacketHasOne) {
  Card card;
  card.up(features(f_mrg_rxbuf));
  card.post(3, 1000);
  ASSERT_TRUE(card.peers[0].send(frame_of(988)));
  ASSERT_TRUE(card.peers[0].send(frame_of(989)));  // one byte too many
  ASSERT_TRUE(card.peers[0].send(frame_of(60, 9)));
  EXPECT_EQ(card.guest->finished(0), 1000u);
  EXPECT_EQ(card.guest->finished(0), 72u);
  EXPECT_EQ(card.net->counters().to_guest_dropped, 1u);
}

TEST_P(NetTest, APacketThatFindsTooFewBuffersWaitsForMore) {
  Card card;
  card.up(features());
  ASSERT_TRUE(card.peers[0].is_told(offload::all));
  for (int tries = 0; tries < 50; ++tries) {  // within its patience, which a busy host may overrun
    card.posted = 0;
    card.post(1, 2000);
    const Frame frame = tcp_frame(3000);
    ASSERT_TRUE(card.peers[0].send(frame, tcp4(1448)));
    card.post(1, 2000);
    if (card.net->counters().to_guest > 0) break;
    if (!eventually([&] { return card.net->counters().to_guest + card.net->counters().to_guest_dropped > static_cast<u64>(tries); })) break;
    if (card.net->counters().to_guest > 0) break;
    while (card.guest->queues[0]->take()) {}
    card.up(features());
  }
  EXPECT_EQ(card.net->counters().to_guest, 1u);
  EXPECT_EQ(card.guest->finished(0), 2000u);
  EXPECT_EQ(card.guest->finished(0), 3000u + 54 + 12 - 2000);
}

TEST_P(NetTest, NonsenseFromTheDriverIsDropped) {
  Card card;
  card.up(features());
  ASSERT_TRUE(card.transmit(frame_of(60), {.flags = net::flag::needs_csum, .csum_start = 50, .csum_offset = 20}));
  ASSERT_TRUE(card.transmit(frame_of(60), {.gso_type = 9, .gso_size = 1}));
  ASSERT_TRUE(card.transmit(frame_of(13)));
  ASSERT_TRUE(card.transmit(tcp_frame(10), tcp4(0)));
  ASSERT_TRUE(card.transmit(frame_of(net::largest_frame + 1)));
  EXPECT_EQ(card.net->counters().from_guest_dropped, 5u);
  ASSERT_TRUE(card.transmit(frame_of(60, 7), {.flags = 0xfe, .num_buffers = 77}));
  const auto seen = card.peers[0].receive();
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->frame, frame_of(60, 7));
  EXPECT_EQ(seen->header, net::Header{});
  EXPECT_FALSE(card.guest->status() & status::needs_reset);
}

TEST_P(NetTest, WhatWasNotAgreedUponIsDropped) {
  Card card;
  card.up(features(f_csum | f_host_tso4 | f_guest_csum));
  ASSERT_TRUE(card.transmit(tcp_frame(3000), tcp4(1000)));
  ASSERT_TRUE(card.transmit(frame_of(60), {.flags = net::flag::needs_csum, .csum_start = 34, .csum_offset = 6}));
  EXPECT_EQ(card.net->counters().from_guest_dropped, 2u);
  ASSERT_TRUE(card.peers[0].is_told(0));
  card.post(2, 9000);
  ASSERT_TRUE(card.peers[0].send(tcp_frame(3000), tcp4(1000)));
  ASSERT_TRUE(card.peers[0].send(frame_of(60), {.flags = net::flag::data_valid}));
  EXPECT_EQ(card.guest->finished(0), 72u);
  EXPECT_EQ(*card.memory->read_value<u8>(Gpa(data_base + MiB)), 0u);  // nor what it would not understand
}

TEST_P(NetTest, NonsenseFromTheOtherSideIsDropped) {
  Card card;
  card.up(features());
  card.post(8, 2048);
  const Peer& peer = card.peers[0];
  peer.send_raw({1, 2, 3});
  peer.send_raw(std::vector<u8>(12));
  peer.send_raw(std::vector<u8>(25));
  peer.send_raw({});
  ASSERT_TRUE(peer.send(frame_of(60), {.flags = net::flag::needs_csum, .csum_start = 0xffff, .csum_offset = 0xffff}));
  ASSERT_TRUE(peer.send(frame_of(60), {.gso_type = 0xff, .gso_size = 3}));
  ASSERT_TRUE(peer.send(frame_of(net::largest_frame + 1)));
  for (u32 i = 0; i < 100; ++i) peer.tell_offloads(i);
  ASSERT_TRUE(peer.send(frame_of(60, 3)));
  EXPECT_EQ(card.guest->finished(0), 72u);
  EXPECT_EQ(card.bytes(data_base + MiB + 12, 60), frame_of(60, 3));
  EXPECT_EQ(card.net->counters().to_guest_dropped, 6u);
}

TEST_P(NetTest, APacketWithoutHeaderAsksForAReset) {
  Card card;
  card.up(features());
  card.guest->queues[1]->add({{data_base, 11}});
  card.guest->kick(1);
  ASSERT_TRUE(eventually([&] { return card.guest->status() & status::needs_reset; }));
  card.up(features());
  EXPECT_TRUE(card.transmit(frame_of(60)));
  card.guest->queues[0]->add({{data_base, 11, true}});
  card.guest->kick(0);
  ASSERT_TRUE(eventually([&] { return card.guest->status() & status::needs_reset; }));
  card.up(features());
  EXPECT_TRUE(card.transmit(frame_of(60)));
}

TEST_P(NetTest, AFullSocketIsWaitedFor) {
  Card card;
  card.up(features());
  // Nobody reads yet: sooner or later a packet does not come back, and then none of the next ones.
  constexpr unsigned total = 20000;
  unsigned sent = 0, waiting = 0;
  while (sent < total && waiting < 6) {
    card.offer(1, data_base + sent % 16 * 2048, frame_of(1500, static_cast<u8>(sent)));
    ++sent;
    card.guest->kick(1);
    bool back = false;
    for (unsigned i = 0; i < 100 && !(back = card.guest->queues[1]->take().has_value()); ++i) std::this_thread::sleep_for(std::chrono::microseconds(200));
    if (!back) ++waiting;
  }
  ASSERT_LT(sent, total);
  // Paused and resumed in that state, with everything in its place.
  card.guest->pci->pause();
  card.guest->pci->resume();
  for (unsigned i = 0; i < sent; ++i) {
    const auto seen = card.peers[0].receive();
    ASSERT_TRUE(seen) << i << " of " << sent;
    ASSERT_EQ(seen->frame, frame_of(1500, static_cast<u8>(i))) << i;
  }
  for (; waiting > 0; --waiting) EXPECT_TRUE(card.guest->finished(1));
  EXPECT_FALSE(card.guest->queues[1]->take());
}

TEST_P(NetTest, WithoutBuffersPacketsStayOutside) {
  Card card;
  card.up(features());
  unsigned sent = 0;
  while (card.peers[0].send(frame_of(1000, static_cast<u8>(sent)), {}, MSG_DONTWAIT)) ++sent;
  ASSERT_GT(sent, 10u);
  EXPECT_EQ(card.net->counters().to_guest_dropped, 0u);
  for (unsigned i = 0; i < sent; ++i) {
    card.posted = 0;
    card.post(1, 1012);
    ASSERT_EQ(card.guest->finished(0), 1012u);
    ASSERT_EQ(card.bytes(data_base + MiB + 12, 1000), frame_of(1000, static_cast<u8>(i)));
  }
}

TEST_P(NetTest, APeerThatCanDoNothingGetsWholePlainFrames) {
  Card card;
  card.up(features());
  const Frame whole = tcp_frame(5000);
  ASSERT_TRUE(card.transmit(whole, tcp4(1448)));
  std::vector<u8> payload;
  for (unsigned i = 0; i < 4; ++i) {
    const auto seen = card.peers[0].receive();
    ASSERT_TRUE(seen);
    EXPECT_EQ(seen->header, net::Header{});
    ASSERT_EQ(seen->frame.size(), i < 3 ? 54u + 1448 : 54u + 5000 - 3 * 1448);
    payload.insert(payload.end(), seen->frame.begin() + 54, seen->frame.end());
  }
  EXPECT_TRUE(std::equal(payload.begin(), payload.end(), whole.begin() + 54));
  EXPECT_EQ(payload.size(), 5000u);
  // And one that can gets it as it was.
  card.peers[0].tell_offloads(offload::csum | offload::tso4);
  card.post(1, 2048);
  ASSERT_TRUE(card.peers[0].send(frame_of(60)));
  ASSERT_TRUE(card.guest->finished(0));
  ASSERT_TRUE(card.transmit(whole, tcp4(1448)));
  const auto seen = card.peers[0].receive();
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->header, tcp4(1448));
  EXPECT_EQ(seen->frame, whole);
}

TEST_P(NetTest, NonsenseInAPacketToBeCutIsDropped) {
  Card card;
  card.up(features());
  Frame frame = tcp_frame(3000);
  frame[14] = 0x4f;  // IP options that reach elsewhere
  ASSERT_TRUE(card.transmit(frame, tcp4(1448)));
  frame = tcp_frame(3000);
  frame[46] = 0x10;  // a TCP header of 4 bytes
  ASSERT_TRUE(card.transmit(frame, tcp4(1448)));
  EXPECT_EQ(card.net->counters().from_guest_dropped, 2u);
  ASSERT_TRUE(card.transmit(frame_of(60)));
  EXPECT_EQ(card.peers[0].receive()->frame, frame_of(60));
}

TEST_P(NetTest, OffloadsFollowTheDriver) {
  Card card;
  card.up(features());
  EXPECT_TRUE(card.peers[0].is_told(offload::all));
  EXPECT_EQ(card.command(class_offloads, offloads_set, {2, 0, 0, 0, 0, 0, 0, 0}), answer_ok);  // GUEST_CSUM only
  EXPECT_TRUE(card.peers[0].is_told(offload::csum));
  EXPECT_EQ(card.command(class_offloads, offloads_set, {1, 0, 0, 0, 0, 0, 0, 0}), answer_error);
  card.up(features(f_guest_tso6 | f_guest_ecn | f_guest_uso6));
  EXPECT_TRUE(card.peers[0].is_told(offload::csum | offload::tso4));
}

TEST_P(NetTest, FiltersByAddress) {
  Card card;
  card.up(features());
  const net::Mac other = {2, 0, 0, 0, 0, 9}, group = {1, 0, 0x5e, 0, 0, 1}, all = {255, 255, 255, 255, 255, 255};
  const auto passes = [&](net::Mac to) {
    card.posted = 0;
    card.post(1, 2048);
    const u64 before = card.net->counters().to_guest_dropped;
    EXPECT_TRUE(card.peers[0].send(frame_of(60, 1, to)));
    bool in = false;
    EXPECT_TRUE(eventually([&] { return (in = card.guest->queues[0]->take().has_value()) || card.net->counters().to_guest_dropped > before; }));
    return in;
  };
  EXPECT_TRUE(passes(other));  // until the driver says otherwise
  EXPECT_EQ(card.command(class_rx, rx_promiscuous, {0}), answer_ok);
  EXPECT_FALSE(passes(other));
  EXPECT_FALSE(passes(group));
  EXPECT_TRUE(passes(testing::guest_mac));
  EXPECT_TRUE(passes(all));
  std::vector<u8> tables = {1, 0, 0, 0};
  tables.insert(tables.end(), other.begin(), other.end());
  tables.insert(tables.end(), {1, 0, 0, 0});
  tables.insert(tables.end(), group.begin(), group.end());
  EXPECT_EQ(card.command(class_mac, mac_table_set, tables), answer_ok);
  EXPECT_TRUE(passes(other));
  EXPECT_TRUE(passes(group));
  tables[0] = 3;  // more than there are
  EXPECT_EQ(card.command(class_mac, mac_table_set, tables), answer_error);
  tables[0] = tables[3] = 0xff;
  EXPECT_EQ(card.command(class_mac, mac_table_set, tables), answer_error);
  EXPECT_EQ(card.command(class_mac, mac_table_set, {0, 0, 0, 0, 0, 0, 0, 0}), answer_ok);
  EXPECT_FALSE(passes(other));
  EXPECT_EQ(card.command(class_mac, mac_addr_set, {other.begin(), other.end()}), answer_ok);
  EXPECT_TRUE(passes(other));
  EXPECT_FALSE(passes(testing::guest_mac));
  EXPECT_EQ(card.guest->load(0x2005, 1), 9u);
  EXPECT_EQ(card.command(class_rx, rx_all_multicast, {1}), answer_ok);
  EXPECT_TRUE(passes(group));
  EXPECT_EQ(card.command(class_rx, rx_no_broadcast, {1}), answer_ok);
  EXPECT_FALSE(passes(all));
}

TEST_P(NetTest, FiltersByVlan) {
  Card card;
  card.up(features());
  EXPECT_EQ(card.command(class_rx, rx_promiscuous, {0}), answer_ok);
  EXPECT_EQ(card.command(class_vlan, vlan_add, {0x23, 0x01}), answer_ok);
  EXPECT_EQ(card.command(class_vlan, vlan_add, {0x00, 0x10}), answer_error);
  Frame frame = frame_of(60);
  frame[12] = 0x81;
  frame[13] = 0x00;
  frame[14] = 0xe1;
  frame[15] = 0x24;
  card.post(2, 2048);
  EXPECT_TRUE(card.peers[0].send(frame));
  frame[15] = 0x23;
  EXPECT_TRUE(card.peers[0].send(frame));
  ASSERT_TRUE(card.guest->finished(0));
  EXPECT_EQ(card.bytes(data_base + MiB + 12, 60), frame);
  EXPECT_EQ(card.net->counters().to_guest_dropped, 1u);
}

TEST_P(NetTest, NonsenseCommandsAreRefused) {
  Card card;
  card.up(features());
  std::mt19937 random(5);
  for (unsigned i = 0; i < 300; ++i) {
    std::vector<u8> data(random() % 20);
    for (u8& byte : data) byte = static_cast<u8>(random());
    const int answer = card.command(static_cast<u8>(random() % 8), static_cast<u8>(random() % 8), data);
    EXPECT_TRUE(answer == answer_ok || answer == answer_error) << answer;
  }
  EXPECT_EQ(card.command(9, 0, {1}), answer_error);
  EXPECT_TRUE(card.transmit(frame_of(60)));
}

TEST_P(NetTest, SeveralPairs) {
  Card card(3);
  card.up(features());
  // One pair is in use until the driver asks for more.
  ASSERT_TRUE(card.transmit(frame_of(60, 1)));
  card.offer(3, data_base + 0x4000, frame_of(60, 2));
  card.guest->kick(3);
  EXPECT_EQ(card.command(class_mq, mq_pairs_set, {4, 0}), answer_error);
  EXPECT_EQ(card.command(class_mq, mq_pairs_set, {0, 0}), answer_error);
  EXPECT_FALSE(card.guest->queues[3]->take());
  EXPECT_EQ(card.command(class_mq, mq_pairs_set, {3, 0}), answer_ok);
  ASSERT_TRUE(card.guest->finished(3));
  EXPECT_EQ(card.peers[1].receive()->frame, frame_of(60, 2));
  card.offer(5, data_base + 0x8000, frame_of(60, 3));
  card.guest->kick(5);
  EXPECT_EQ(card.peers[2].receive()->frame, frame_of(60, 3));
  card.post(1, 2048, 4);
  EXPECT_TRUE(card.peers[2].send(frame_of(70, 4)));
  EXPECT_EQ(card.guest->finished(4), 82u);
  EXPECT_EQ(card.command(class_mq, mq_pairs_set, {1, 0}), answer_ok);
  card.post(1, 2048, 4);
  EXPECT_TRUE(card.peers[2].send(frame_of(70, 4)));
  EXPECT_TRUE(card.transmit(frame_of(60, 1)));
  EXPECT_FALSE(card.guest->queues[4]->take());
}

TEST_P(NetTest, WithoutMultiqueueTheControlQueueIsTheThird) {
  Card card(2);
  card.up(features(f_mq));
  card.guest->queues.resize(3);
  EXPECT_EQ(card.command(class_rx, rx_promiscuous, {1}), answer_ok);
}

TEST_P(NetTest, TheCableComesOut) {
  Card card;
  card.up(features());
  card.guest->segment.irqs.messages.clear();
  card.net->set_link(false);
  EXPECT_FALSE(card.guest->segment.irqs.messages.empty());
  EXPECT_EQ(card.guest->load(0x2006, 2), 0u);
  ASSERT_TRUE(card.transmit(frame_of(60)));
  EXPECT_EQ(card.net->counters().from_guest_dropped, 1u);
  card.post(1, 2048);
  EXPECT_TRUE(card.peers[0].send(frame_of(60)));
  EXPECT_TRUE(eventually([&] { return card.net->counters().to_guest_dropped == 1; }));
  card.net->set_link(true);
  EXPECT_EQ(card.guest->load(0x2006, 2), status_link_up);
  EXPECT_TRUE(card.peers[0].send(frame_of(61)));
  EXPECT_EQ(card.guest->finished(0), 73u);
}

TEST_P(NetTest, TheOtherSideGoesAway) {
  Card card;
  card.up(features());
  card.post(4, 2048);
  EXPECT_TRUE(card.peers[0].send(frame_of(60)));
  card.peers[0].fd.reset();
  EXPECT_EQ(card.guest->finished(0), 72u);  // what it said before still arrives
  EXPECT_TRUE(eventually([&] { return card.guest->load(0x2006, 2) == 0; }));
  EXPECT_TRUE(card.transmit(frame_of(60)));
  card.up(features());
  EXPECT_TRUE(card.transmit(frame_of(60)));
}

TEST_P(NetTest, APausedCardTouchesNothing) {
  Card card;
  card.up(features());
  card.post(4, 2048);
  card.guest->pci->pause();
  const auto before = card.bytes(data_base + MiB, 8192);
  EXPECT_TRUE(card.peers[0].send(frame_of(60)));
  card.offer(1, data_base, frame_of(60));
  card.guest->kick(1);
  EXPECT_FALSE(card.peers[0].receive(20));
  EXPECT_FALSE(card.guest->queues[0]->take());
  EXPECT_EQ(card.bytes(data_base + MiB, 8192), before);
  card.guest->pci->resume();
  EXPECT_EQ(card.guest->finished(0), 72u);
  EXPECT_TRUE(card.guest->finished(1));
}

TEST_P(NetTest, GoesOnAfterRestoreAndIsAnnounced) {
  Card card;
  card.up(features());
  EXPECT_EQ(card.command(class_rx, rx_promiscuous, {0}), answer_ok);
  card.post(6, 2048);
  for (unsigned i = 0; i < 3; ++i) {
    EXPECT_TRUE(card.peers[0].send(frame_of(60 + i)));
    ASSERT_EQ(card.guest->finished(0), 72u + i);
    ASSERT_TRUE(card.transmit(frame_of(60)));
  }
  const auto state = bus::testing::saved(*card.guest->pci);
  card.guest->pci->pause();

  Peer peer;
  std::vector<std::unique_ptr<net::Link>> links;
  links.push_back(peer.connect());
  auto made = Net::create("net0", *card.memory, std::move(links), {.mac = testing::guest_mac});
  testing::PciGuest other(*card.memory, std::move(*made));
  ASSERT_TRUE(bus::testing::restored(*other.pci, state));
  EXPECT_TRUE(peer.is_told(offload::all));
  EXPECT_EQ(other.load(0x2006, 2), status_link_up | status_announce);
  EXPECT_TRUE(peer.send(frame_of(80, 1, {2, 2, 2, 2, 2, 2})));  // not for us
  EXPECT_TRUE(peer.send(frame_of(81)));
  EXPECT_EQ(card.guest->finished(0), 93u);
  EXPECT_EQ(card.bytes(data_base + MiB + 3 * 2048 + 12, 81), frame_of(81));
  // The driver has announced the guest.
  const u64 at = data_base + 12 * MiB;
  (void)card.memory->write_value<u16>(Gpa(at), class_announce | announce_ack << 8);
  card.guest->queues[2]->add({{at, 2}, {at + 16, 1, true}});
  other.kick(2);
  ASSERT_TRUE(card.guest->finished(2));
  EXPECT_EQ(other.load(0x2006, 2), status_link_up);
}

TEST_P(NetTest, ResetsUnderTraffic) {
  Card card(2);
  std::atomic<bool> end = false;
  std::vector<std::jthread> noise;
  for (Peer& peer : card.peers) {
    noise.emplace_back([&end, &peer] {
      unsigned i = 0;
      while (!end) {
        (void)peer.send(frame_of(14 + i++ * 37 % 3000), {}, MSG_DONTWAIT);
        (void)peer.receive(0);
      }
    });
  }
  for (unsigned i = 0; i < 60; ++i) {
    card.up(features(i % 3 ? 0 : f_mrg_rxbuf));
    ASSERT_EQ(card.command(class_mq, mq_pairs_set, {2, 0}), answer_ok);
    for (unsigned q : {0u, 2u}) {
      card.posted = 0;
      card.post(12, 3100, q, data_base + (1 + q) * MiB);
    }
    for (unsigned n = 0; n < 5; ++n) {
      card.offer(1, data_base + n * 0x2000, frame_of(200));
      card.offer(3, data_base + n * 0x2000 + 0x1000, frame_of(200));
    }
    card.guest->kick(1);
    card.guest->kick(3);
    if (i % 4 == 1) {
      card.guest->pci->pause();
      card.guest->pci->resume();
    }
    if (i % 4 == 2) {
      ASSERT_TRUE(card.guest->finished(0));
    }
    card.guest->set_status(0);
    ASSERT_EQ(card.guest->status(), 0);
    // From here on the buffers are the driver's again.
    const auto before = card.bytes(data_base + MiB, 40000);
    std::this_thread::yield();
    ASSERT_EQ(card.bytes(data_base + MiB, 40000), before);
  }
  end = true;
  EXPECT_GT(card.net->counters().to_guest, 0u);
}

INSTANTIATE_TEST_SUITE_P(Rings, NetTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Packed" : "Split"; });

TEST(Net, ASlowRateDoesNotHoldAReset) {
  Card card(1, {.rate_in = 1, .rate_out = 1});
  card.up(~u64{0});
  card.post(8, 2048);
  for (unsigned i = 0; i < 4; ++i) {
    card.offer(1, data_base + i * 0x1000, frame_of(1000));
    EXPECT_TRUE(card.peers[0].send(frame_of(1000)));
  }
  card.guest->kick(1);
  EXPECT_TRUE(card.guest->finished(0));
  EXPECT_TRUE(card.guest->finished(1));
  EXPECT_FALSE(card.guest->queues[0]->take());
  card.guest->set_status(0);
  EXPECT_EQ(card.guest->status(), 0);
  EXPECT_EQ(card.net->counters().to_guest, 1u);
  EXPECT_EQ(card.net->counters().from_guest, 1u);
}

TEST(Net, Contract) {
  std::vector<std::unique_ptr<Peer>> peers;  // their ends stay open
  testing::check_virtio_contract([&](memory::GuestMemory& memory) -> std::unique_ptr<VirtioDevice> {
    std::vector<std::unique_ptr<net::Link>> links;
    for (unsigned i = 0; i < 2; ++i) {
      peers.push_back(std::make_unique<Peer>());
      links.push_back(peers.back()->connect());
      for (unsigned n = 0; n < 20; ++n) (void)peers.back()->send(frame_of(100 * n + 14));
    }
    return *Net::create("net0", memory, std::move(links), {.mac = testing::guest_mac, .queue_size = 64});
  });
}

}  // namespace
}  // namespace nagaya::virtio
