#include "net/wire.hpp"

#include <gtest/gtest.h>

#include <random>

namespace nagaya::net {
namespace {

Header tcp4() { return {.flags = flag::needs_csum, .gso_type = gso::tcp4, .hdr_len = 54, .gso_size = 1448, .csum_start = 34, .csum_offset = 16}; }

TEST(Wire, PlainFramesPass) {
  EXPECT_EQ(checked({}, 60), Header{});
  EXPECT_EQ(checked({.num_buffers = 7}, 60), Header{});
  EXPECT_TRUE(checked({}, ethernet_size));
  EXPECT_FALSE(checked({}, ethernet_size - 1));
  EXPECT_TRUE(checked({}, largest_frame));
  EXPECT_FALSE(checked({}, largest_frame + 1));
}

TEST(Wire, WhatNobodyAskedForIsTakenOut) {
  const auto out = checked({.flags = 0xfc | flag::data_valid, .hdr_len = 900, .gso_size = 5, .csum_start = 9999, .csum_offset = 9}, 60);
  ASSERT_TRUE(out);
  EXPECT_EQ(*out, (Header{.flags = flag::data_valid}));
}

TEST(Wire, ChecksumsLieInsideTheFrame) {
  Header header{.flags = flag::needs_csum, .csum_start = 34, .csum_offset = 16};
  EXPECT_TRUE(checked(header, 52));
  EXPECT_FALSE(checked(header, 51));
  header.csum_start = 13;
  EXPECT_FALSE(checked(header, 1000));
  header.csum_start = 0xffff;
  header.csum_offset = 0xffff;
  EXPECT_FALSE(checked(header, largest_frame));
}

TEST(Wire, SegmentationMakesSense) {
  EXPECT_EQ(checked(tcp4(), 30000), tcp4());
  Header header = tcp4();
  header.gso_size = 0;
  EXPECT_FALSE(checked(header, 30000));
  header = tcp4();
  header.flags = 0;
  EXPECT_FALSE(checked(header, 30000));
  header = tcp4();
  header.csum_offset = 6;
  EXPECT_FALSE(checked(header, 30000));
  header = tcp4();
  EXPECT_TRUE(checked(header, 54));
  EXPECT_FALSE(checked(header, 53));
  header.gso_type = gso::tcp6;  // its headers do not fit before csum_start
  EXPECT_FALSE(checked(header, 30000));
  for (u8 type : {gso::udp_fragments, u8{2}, u8{6}, u8{0x7f}, gso::ecn}) {
    header = tcp4();
    header.gso_type = type;
    EXPECT_FALSE(checked(header, 30000)) << int(type);
  }
  header = {.flags = flag::needs_csum, .gso_type = gso::udp, .gso_size = 1200, .csum_start = 34, .csum_offset = 6};
  EXPECT_TRUE(checked(header, 30000));
  header.gso_type = gso::udp | gso::ecn;
  EXPECT_FALSE(checked(header, 30000));
}

TEST(Wire, OffloadsThatAHeaderAsksFor) {
  EXPECT_EQ(wanted_offloads({}), 0u);
  EXPECT_EQ(wanted_offloads({.flags = flag::needs_csum}), offload::csum);
  EXPECT_EQ(wanted_offloads({.flags = flag::needs_csum, .gso_type = gso::tcp6 | gso::ecn}), offload::csum | offload::tso6 | offload::tso_ecn);
}

TEST(Wire, NoiseNeverPassesWithAChecksumOutside) {
  std::mt19937 random(1);
  unsigned passed = 0;
  for (int i = 0; i < 200000; ++i) {
    Header header;
    for (std::size_t at = 0; at < sizeof header; ++at) reinterpret_cast<u8*>(&header)[at] = static_cast<u8>(random());
    if (i % 2) header.csum_start %= 128, header.csum_offset %= 32, header.gso_type %= 6;
    const std::size_t size = random() % 70000;
    const auto out = checked(header, size);
    if (!out) continue;
    ++passed;
    EXPECT_LE(out->hdr_len, size);
    if (out->flags & flag::needs_csum) {
      EXPECT_LE(std::size_t{out->csum_start} + out->csum_offset + 2, size);
    }
    if (out->gso_type) {
      EXPECT_GT(out->gso_size, 0);
    }
  }
  EXPECT_GT(passed, 1000u);
}

}  // namespace
}  // namespace nagaya::net
