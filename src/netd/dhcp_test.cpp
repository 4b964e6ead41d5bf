#include "netd/dhcp.hpp"

#include <gtest/gtest.h>

#include "netd/guest_test_util.hpp"

namespace nagaya::netd {
namespace {

const net::Ip4 nobody{0}, all{0xffffffff};

std::vector<u8> message(std::vector<u8> options, net::Ip4 current = nobody, bool broadcast = false) {
  std::vector<u8> out(240);
  out[0] = 1;
  out[1] = 1;
  out[2] = 6;
  put32(&out[4], 0xabcd1234);
  put16(&out[10], broadcast ? 0x8000 : 0);
  put32(&out[12], current.value);
  const net::Mac mac = {0x52, 0x54, 0, 0, 0, 1};
  std::copy(mac.begin(), mac.end(), out.begin() + 28);
  put32(&out[236], 0x63825363);
  out.insert(out.end(), options.begin(), options.end());
  out.push_back(255);
  return out;
}

class Dhcp : public ::testing::Test {
 protected:
  std::vector<u8> ask(const std::vector<u8>& dhcp) {
    Server& server = *server_;
    Guest guest(server, 1);
    return guest.ip(Guest::everybody, nobody, all, protocol_udp, Guest::udp(68, 67, dhcp));
  }
  static std::optional<std::vector<u8>> option(const std::vector<u8>& frame, u8 wanted) {
    for (std::size_t i = 14 + 20 + 8 + 240; i + 1 < frame.size() && frame[i] != 255; i += 2 + frame[i + 1]) {
      if (frame[i] == wanted) return std::vector<u8>(frame.begin() + static_cast<long>(i) + 2, frame.begin() + static_cast<long>(i) + 2 + frame[i + 1]);
    }
    return {};
  }
  static u32 address_in(const std::vector<u8>& frame) { return get32(&frame[14 + 20 + 8 + 16]); }

  std::unique_ptr<Server> server_ = Server::create({}).value();
  DhcpOffer offer_{.address = net::Ip4::parse("10.0.2.15").value(), .subnet = net::Net4::parse("10.0.2.0/24").value(),
                   .server = net::Ip4::parse("10.0.2.2").value(), .server_mac = {0x52, 0x55, 10, 0, 2, 2},
                   .dns = net::Ip4::parse("10.0.2.3").value(), .mtu = 65520, .name = "box"};
};

TEST_F(Dhcp, DiscoverGetsAnOfferWithAllThatIsKnown) {
  const auto answer = answer_dhcp(ask(message({53, 1, 1})), offer_);
  ASSERT_TRUE(answer);
  EXPECT_TRUE(Guest::sound({.frame = *answer}));
  EXPECT_EQ(address_in(*answer), offer_.address.value);
  EXPECT_EQ(option(*answer, 53), (std::vector<u8>{2}));
  EXPECT_EQ(option(*answer, 1), (std::vector<u8>{255, 255, 255, 0}));
  EXPECT_EQ(option(*answer, 3), (std::vector<u8>{10, 0, 2, 2}));
  EXPECT_EQ(option(*answer, 6), (std::vector<u8>{10, 0, 2, 3}));
  EXPECT_EQ(option(*answer, 26), (std::vector<u8>{0xff, 0xf0}));
  EXPECT_EQ(option(*answer, 12), (std::vector<u8>{'b', 'o', 'x'}));
  EXPECT_EQ((*answer)[5], 1);  // to its own station
  EXPECT_EQ(get32(&(*answer)[14 + 20 + 8 + 4]), 0xabcd1234u);
}

TEST_F(Dhcp, RequestForTheRightAddressIsGrantedForAnotherRefused) {
  const auto granted = answer_dhcp(ask(message({53, 1, 3, 50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 2})), offer_);
  ASSERT_TRUE(granted);
  EXPECT_EQ(option(*granted, 53), (std::vector<u8>{5}));
  const auto refused = answer_dhcp(ask(message({53, 1, 3, 50, 4, 10, 0, 2, 16})), offer_);
  ASSERT_TRUE(refused);
  EXPECT_EQ(option(*refused, 53), (std::vector<u8>{6}));
  EXPECT_EQ(address_in(*refused), 0u);
  EXPECT_EQ((*refused)[0], 0xff);
}

TEST_F(Dhcp, ALeaseIsRenewedByWhoHasIt) {
  const auto granted = answer_dhcp(ask(message({53, 1, 3}, offer_.address)), offer_);
  ASSERT_TRUE(granted);
  EXPECT_EQ(option(*granted, 53), (std::vector<u8>{5}));
}

TEST_F(Dhcp, BroadcastWhenAskedFor) {
  const auto answer = answer_dhcp(ask(message({53, 1, 1}, nobody, true)), offer_);
  ASSERT_TRUE(answer);
  EXPECT_EQ((*answer)[0], 0xff);
  EXPECT_EQ(get32(&(*answer)[14 + 16]), all.value);
}

TEST_F(Dhcp, WhatIsNoneOfOursIsLeftAlone) {
  EXPECT_FALSE(answer_dhcp(ask(message({53, 1, 3, 50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 77})), offer_));  // another server's
  EXPECT_FALSE(answer_dhcp(ask(message({53, 1, 7})), offer_));                                               // release
  EXPECT_FALSE(answer_dhcp(ask(message({})), offer_));                                                       // no type
  Guest guest(*server_, 1);
  EXPECT_FALSE(is_dhcp_request(guest.arp(nobody, offer_.server)));
}

TEST_F(Dhcp, EveryTruncationAndEveryFlippedByteIsSurvived) {
  const auto whole = ask(message({53, 1, 3, 50, 4, 10, 0, 2, 15}));
  for (std::size_t size = 0; size < whole.size(); ++size) (void)answer_dhcp(std::span(whole).first(size), offer_);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    auto bad = whole;
    bad[i] ^= 0xff;
    (void)answer_dhcp(bad, offer_);
  }
}

}  // namespace
}  // namespace nagaya::netd
