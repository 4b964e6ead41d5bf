#include "net/segment.hpp"

#include <gtest/gtest.h>

#include <random>

namespace nagaya::net {
namespace {

using Frame = std::vector<u8>;

Frame join(std::span<const iovec> parts) {
  Frame out;
  for (const iovec& part : parts) out.insert(out.end(), static_cast<u8*>(part.iov_base), static_cast<u8*>(part.iov_base) + part.iov_len);
  return out;
}

/// RFC 1071 as it is written there.
u16 slow_sum(std::span<const u8> data, u32 sum = 0) {
  for (std::size_t i = 0; i < data.size(); ++i) sum += i % 2 ? data[i] : u32{data[i]} << 8, sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<u16>(~sum);
}

struct Shape {
  bool ip6, udp, vlan;
  std::size_t payload, gso_size;
};

std::size_t ip_at(const Shape& s) { return s.vlan ? 18 : 14; }
std::size_t l4_at(const Shape& s) { return ip_at(s) + (s.ip6 ? 40 : 20); }

Frame make(const Shape& s) {
  const std::size_t ip = ip_at(s), l4 = l4_at(s), data = l4 + (s.udp ? 8 : 32);
  Frame out(data + s.payload);
  std::mt19937 random(static_cast<unsigned>(s.payload));
  for (u8& byte : out) byte = static_cast<u8>(random());
  if (s.vlan) out[12] = 0x81, out[13] = 0x00;
  out[ip - 2] = s.ip6 ? 0x86 : 0x08;
  out[ip - 1] = s.ip6 ? 0xdd : 0x00;
  out[ip] = s.ip6 ? 0x60 : 0x45;
  if (!s.ip6) out[ip + 9] = s.udp ? 17 : 6;
  if (!s.udp) {
    out[l4 + 12] = 0x80;
    out[l4 + 13] = 0x99;  // CWR, ACK, PSH, FIN
    out[l4 + 4] = out[l4 + 5] = out[l4 + 6] = 0xff;  // the sequence number wraps
  }
  return out;
}

Header header_of(const Shape& s) {
  return {.flags = flag::needs_csum,
          .gso_type = s.udp ? gso::udp : s.ip6 ? gso::tcp6 : gso::tcp4,
          .gso_size = static_cast<u16>(s.gso_size),
          .csum_start = static_cast<u16>(l4_at(s)),
          .csum_offset = static_cast<u16>(s.udp ? 6 : 16)};
}

u32 be32(const u8* at) { return u32{at[0]} << 24 | u32{at[1]} << 16 | u32{at[2]} << 8 | at[3]; }

void check(const Shape& s) {
  Frame whole = make(s);
  const Frame original = whole;
  const std::size_t ip = ip_at(s), l4 = l4_at(s), data = l4 + (s.udp ? 8 : 32);
  Segmenter cut;
  ASSERT_TRUE(checked(header_of(s), whole.size()));
  ASSERT_TRUE(cut.begin(header_of(s), whole));
  Frame payload;
  unsigned number = 0;
  for (; cut.active(); cut.advance(), ++number) {
    const Frame piece = join(cut.current());
    const std::size_t size = piece.size() - data;
    ASSERT_LE(size, s.gso_size);
    EXPECT_TRUE(std::equal(piece.begin(), piece.begin() + static_cast<long>(ip), original.begin()));
    u32 pseudo = static_cast<u32>(piece.size() - l4) + (s.udp ? 17 : 6);
    if (s.ip6) {
      EXPECT_EQ(piece[ip + 4] << 8 | piece[ip + 5], static_cast<int>(piece.size() - ip - 40));
      pseudo += static_cast<u16>(~slow_sum(std::span(piece).subspan(ip + 8, 32)));
    } else {
      EXPECT_EQ(piece[ip + 2] << 8 | piece[ip + 3], static_cast<int>(piece.size() - ip));
      EXPECT_EQ(slow_sum(std::span(piece).subspan(ip, 20)), 0);
      EXPECT_EQ(static_cast<u16>(piece[ip + 4] << 8 | piece[ip + 5]), static_cast<u16>((original[ip + 4] << 8 | original[ip + 5]) + number));
      pseudo += static_cast<u16>(~slow_sum(std::span(piece).subspan(ip + 12, 8)));
    }
    EXPECT_EQ(slow_sum(std::span(piece).subspan(l4), pseudo), 0) << number;
    if (s.udp) {
      EXPECT_EQ(piece[l4 + 4] << 8 | piece[l4 + 5], static_cast<int>(piece.size() - l4));
    } else {
      const bool last = payload.size() + size == s.payload;
      EXPECT_EQ(be32(&piece[l4 + 4]), be32(&original[l4 + 4]) + static_cast<u32>(payload.size()));
      EXPECT_EQ(piece[l4 + 13], (number == 0 ? 0x80 : 0) | 0x10 | (last ? 0x09 : 0));
    }
    payload.insert(payload.end(), piece.begin() + static_cast<long>(data), piece.end());
  }
  EXPECT_EQ(number, std::max<std::size_t>(1, (s.payload + s.gso_size - 1) / s.gso_size));
  EXPECT_TRUE(std::equal(payload.begin(), payload.end(), original.begin() + static_cast<long>(data), original.end()));
}

TEST(Segmenter, CutsEveryKind) {
  for (const bool ip6 : {false, true}) {
    for (const bool udp : {false, true}) {
      for (const bool vlan : {false, true}) {
        for (const std::size_t payload : {0u, 1u, 1447u, 1448u, 1449u, 9001u, 60000u}) check({ip6, udp, vlan, payload, 1448});
        check({ip6, udp, vlan, 3001, 1});
        check({ip6, udp, vlan, 3001, 999});
      }
    }
  }
}

TEST(Segmenter, CompletesAChecksum) {
  for (const std::size_t size : {60u, 61u, 1500u}) {
    Frame frame = make({false, true, false, size, 0});
    Segmenter one;
    ASSERT_TRUE(one.begin({.flags = flag::needs_csum, .csum_start = 34, .csum_offset = 6}, frame));
    const Frame out = join(one.current());
    EXPECT_EQ(out.size(), frame.size());
    // The field held the pseudo header's sum: with the result in its place all adds up to its complement.
    const Frame before = make({false, true, false, size, 0});
    const u16 seed = static_cast<u16>(before[40] << 8 | before[41]);
    EXPECT_EQ(slow_sum(std::span(out).subspan(34), seed), 0);
    one.advance();
    EXPECT_FALSE(one.active());
  }
}

TEST(Segmenter, SumsAnyLength) {
  std::mt19937 random(3);
  Frame data(300);
  for (u8& byte : data) byte = static_cast<u8>(random());
  for (std::size_t size = 0; size <= data.size(); ++size) {
    EXPECT_EQ(finish_sum(add_sum({data.data(), size})), slow_sum({data.data(), size})) << size;
  }
  const Frame ones(65536, 0xff);
  EXPECT_EQ(finish_sum(add_sum(ones)), slow_sum(ones));
}

TEST(Segmenter, RefusesWhatContradictsItsHeader) {
  const Shape shape{false, false, false, 3000, 1448};
  Segmenter cut;
  Frame frame = make(shape);
  frame[14] = 0x65;
  EXPECT_FALSE(cut.begin(header_of(shape), frame));
  frame = make(shape);
  frame[14] = 0x46;
  EXPECT_FALSE(cut.begin(header_of(shape), frame));
  frame = make(shape);
  frame[23] = 17;
  EXPECT_FALSE(cut.begin(header_of(shape), frame));
  frame = make(shape);
  frame[46] = 0x40;
  EXPECT_FALSE(cut.begin(header_of(shape), frame));
  frame = make(shape);
  frame[12] = 0x86;
  frame[13] = 0xdd;
  EXPECT_FALSE(cut.begin(header_of(shape), frame));
  frame = make(shape);
  frame[12] = 0x81;
  frame[13] = 0x00;
  EXPECT_FALSE(cut.begin(header_of(shape), frame));
}

TEST(Segmenter, NoiseStaysInBounds) {
  std::mt19937 random(4);
  unsigned begun = 0;
  for (int i = 0; i < 20000; ++i) {
    const Shape shape{bool(random() % 2), bool(random() % 2), bool(random() % 2), random() % 3000, 100 + random() % 2000};
    Frame frame = make(shape);
    Header header = header_of(shape);
    for (unsigned n = random() % 4; n > 0; --n) frame[random() % std::min<std::size_t>(60, frame.size())] = static_cast<u8>(random());
    if (random() % 3 == 0) header.csum_start = static_cast<u16>(random() % 120);
    if (random() % 3 == 0) frame.resize(random() % (frame.size() + 1));
    const auto good = checked(header, frame.size());
    Segmenter cut;
    if (!good || !cut.begin(*good, frame)) continue;
    ++begun;
    std::size_t total = 0;
    for (; cut.active(); cut.advance()) total += join(cut.current()).size();
    EXPECT_GE(total, frame.size());
  }
  EXPECT_GT(begun, 1000u);
}

}  // namespace
}  // namespace nagaya::net
