#include "netd/switch.hpp"

#include <gtest/gtest.h>

namespace nagaya::netd {
namespace {

class Ear final : public Station {
 public:
  void deliver(unsigned from, const net::Header& header, std::span<u8> frame) override {
    heard.emplace_back(from, std::vector<u8>(frame.begin(), frame.end()));
    headers.push_back(header);
    if (spoil) frame[20] = 99;
  }
  std::vector<std::pair<unsigned, std::vector<u8>>> heard;
  std::vector<net::Header> headers;
  bool spoil = false;
};

constexpr net::Mac everybody = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
net::Mac station(u32 n) { return {0x02, 0, static_cast<u8>(n >> 24), static_cast<u8>(n >> 16), static_cast<u8>(n >> 8), static_cast<u8>(n)}; }

class SwitchTest : public ::testing::Test {
 protected:
  SwitchTest() {
    for (unsigned i = 0; i < 3; ++i) port[i] = lan.attach(ear[i]).value();
  }
  void send(unsigned from, const net::Mac& source, const net::Mac& to, net::Header header = {}) {
    std::vector<u8> frame(60, 7);
    std::copy(to.begin(), to.end(), frame.begin());
    std::copy(source.begin(), source.end(), frame.begin() + 6);
    lan.input(port[from], header, frame);
  }
  std::size_t heard(unsigned i) const { return ear[i].heard.size(); }
  Switch lan;
  Ear ear[3];
  unsigned port[3];
};

TEST_F(SwitchTest, UnknownGoesToAllOthersKnownToOne) {
  send(0, station(1), station(2));
  EXPECT_EQ(heard(0), 0u);
  EXPECT_EQ(heard(1), 1u);
  EXPECT_EQ(heard(2), 1u);
  send(1, station(2), station(1));
  EXPECT_EQ(heard(0), 1u);
  EXPECT_EQ(heard(2), 1u);
  send(0, station(1), station(2));
  EXPECT_EQ(heard(1), 2u);
  EXPECT_EQ(heard(2), 1u);
  send(2, station(3), everybody);
  EXPECT_EQ(heard(0), 2u);
  EXPECT_EQ(heard(1), 3u);
}

TEST_F(SwitchTest, NothingGoesBackWhereItCameFrom) {
  send(0, station(1), everybody);
  send(0, station(2), station(1));
  EXPECT_EQ(heard(0), 0u);
  EXPECT_EQ(heard(1), 1u);
}

TEST_F(SwitchTest, AStationThatMovesIsFoundAtItsNewPlace) {
  send(0, station(1), everybody);
  send(2, station(1), everybody);
  const auto before = heard(0);
  send(1, station(5), station(1));
  EXPECT_EQ(heard(0), before);
  EXPECT_EQ(ear[2].heard.back().first, port[1]);
}

TEST_F(SwitchTest, ASourceThatIsAGroupIsNonsense) {
  net::Mac group = station(1);
  group[0] |= 1;
  send(0, group, everybody);
  EXPECT_EQ(heard(1), 0u);
}

TEST_F(SwitchTest, FloodingAddressesCostsOnlyTheFlooder) {
  send(1, station(2), everybody);
  for (u32 i = 0; i < 10'000; ++i) send(0, station(100 + i), everybody);
  EXPECT_LE(lan.learned(), 1 + Switch::most_addresses);
  const auto before = heard(2);
  send(0, station(9), station(2));
  EXPECT_EQ(heard(2), before);  // still known: not flooded
  // The newest of the flooder are known, too.
  send(1, station(2), station(100 + 9'999));
  EXPECT_EQ(heard(2), before);
}

TEST_F(SwitchTest, APinnedAddressCannotBeTaken) {
  ASSERT_TRUE(lan.pin(port[1], station(2)));
  EXPECT_FALSE(lan.pin(port[0], station(2)));
  send(0, station(2), everybody);
  EXPECT_EQ(heard(1), 0u);
  send(0, station(1), station(2));
  EXPECT_EQ(heard(1), 1u);
  EXPECT_EQ(heard(2), 0u);
  lan.detach(port[1]);
  EXPECT_TRUE(lan.pin(port[0], station(2)));
}

TEST_F(SwitchTest, PinningTakesALearnedAddressBack) {
  send(0, station(2), everybody);
  ASSERT_TRUE(lan.pin(port[1], station(2)));
  send(2, station(3), station(2));
  EXPECT_EQ(heard(1), 2u);
  EXPECT_EQ(heard(0), 0u);
}

TEST_F(SwitchTest, WhoLeavesIsForgotten) {
  send(0, station(1), everybody);
  lan.detach(port[0]);
  EXPECT_EQ(lan.learned(), 0u);
  send(1, station(2), station(1));
  EXPECT_EQ(heard(0), 0u);
  EXPECT_EQ(heard(2), 2u);
}

TEST_F(SwitchTest, AReceiverThatCompletesAChecksumDoesNotChangeItForOthers) {
  ear[1].spoil = true;
  send(0, station(1), everybody, net::Header{.flags = net::flag::needs_csum, .csum_start = 34, .csum_offset = 6});
  EXPECT_EQ(ear[2].heard.back().second[20], 7);
  EXPECT_EQ(ear[2].headers.back().flags, net::flag::needs_csum);
}

TEST_F(SwitchTest, PortsHaveAnEnd) {
  Ear more[Switch::most_ports];
  std::size_t attached = 0;
  for (Ear& ear : more) attached += lan.attach(ear).has_value();
  EXPECT_EQ(attached, Switch::most_ports - 3);
  EXPECT_FALSE(lan.attach(more[0]).has_value());
}

}  // namespace
}  // namespace nagaya::netd
