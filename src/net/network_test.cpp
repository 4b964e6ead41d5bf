#include "net/network.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "net/bridge_rules.hpp"

namespace nagaya::net {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class Networks : public ::testing::Test {
 protected:
  Networks() : root_(std::filesystem::path(::testing::TempDir()) / ("networks-" + std::to_string(::getpid()))), store_((root_ / "state").string(), (root_ / "run").string()) {}
  ~Networks() override { std::filesystem::remove_all(root_); }
  std::filesystem::path root_;
  NetworkStore store_;
};

TEST_F(Networks, UserAndNoneAreThereAlways) {
  const auto all = store_.list();
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 2u);
  EXPECT_EQ((*all)[1].name, "user");
  EXPECT_EQ(store_.find("none")->driver, Driver::none);
  EXPECT_FALSE(store_.create({.name = "user"}));
}

TEST_F(Networks, CreatedFoundListedRemoved) {
  const Network lab{.name = "lab", .driver = Driver::bridge, .subnet = *Net4::parse("10.89.7.0/24"), .mtu = 1400, .internal = true};
  ASSERT_TRUE(store_.create(lab));
  EXPECT_EQ(store_.find("lab").value(), lab);
  EXPECT_EQ(store_.list()->size(), 3u);
  EXPECT_THAT(store_.create(lab).error().message(), HasSubstr("already"));
  ASSERT_TRUE(store_.remove("lab"));
  EXPECT_THAT(store_.find("lab").error().message(), HasSubstr("no network"));
  EXPECT_TRUE(std::filesystem::is_empty(root_ / "state"));
}

TEST_F(Networks, NamesThatAreNoneAreRefused) {
  for (const char* name : {"", "..", "../x", "a/b", "-x", "a b", "a\nb", "a,b", ".x"}) {
    EXPECT_FALSE(store_.create({.name = name})) << name;
    EXPECT_FALSE(store_.find(name)) << name;
  }
  EXPECT_FALSE(store_.create({.name = std::string(41, 'a')}));
}

TEST_F(Networks, ABrokenDefinitionIsToldAndDoesNotHideTheOthers) {
  ASSERT_TRUE(store_.create({.name = "good", .driver = Driver::isolated}));
  std::ofstream(root_ / "state/bad.json") << R"({"name":"bad","driver":"user","colour":"red"})";
  std::ofstream(root_ / "state/other.json") << R"({"name":"good","driver":"isolated"})";
  std::vector<std::string> unreadable;
  const auto all = store_.list(&unreadable);
  ASSERT_TRUE(all);
  EXPECT_EQ(all->size(), 3u);
  ASSERT_EQ(unreadable.size(), 2u);
}

TEST_F(Networks, WhatMakesNoSenseIsRefused) {
  EXPECT_FALSE(store_.create({.name = "x", .mtu = 70000}));
  EXPECT_FALSE(store_.create({.name = "x", .driver = Driver::bridge, .mtu = 9000}));
  EXPECT_FALSE(store_.create({.name = "x", .driver = Driver::isolated, .internal = true}));
  EXPECT_FALSE(store_.create({.name = "x", .driver = Driver::isolated, .host_loopback = false}));
}

TEST_F(Networks, ASubnetThatIsTakenIsNotFree) {
  const auto first = store_.free_subnet();
  ASSERT_TRUE(first);
  ASSERT_TRUE(store_.create({.name = "one", .driver = Driver::bridge, .subnet = *first}));
  EXPECT_NE(store_.free_subnet().value(), *first);
}

TEST(BridgeRules, NamesFitAndDiffer) {
  const Network a{.name = "a-network-with-a-long-name-1"}, b{.name = "a-network-with-a-long-name-2"};
  EXPECT_EQ(bridge_name({.name = "lab"}), "ny-lab");
  EXPECT_LE(bridge_name(a).size(), 15u);
  EXPECT_NE(bridge_name(a), bridge_name(b));
}

TEST(BridgeRules, PublishedPortsAndDirections) {
  Network lab{.name = "lab", .driver = Driver::bridge, .subnet = *Net4::parse("10.89.7.0/24")};
  const std::vector<Lease> leases = {{.mac = "52:54:00:00:00:01", .address = lab.subnet.at(2), .name = "box",
                                      .publish = *parse_port_spec("127.0.0.1:8080:80")}};
  const std::string script = nft_script(lab, leases);
  EXPECT_THAT(script, HasSubstr("ip daddr 127.0.0.1 tcp dport 8080 dnat to 10.89.7.2:80"));
  EXPECT_THAT(script, HasSubstr("ip saddr 10.89.7.0/24 oifname != \"ny-lab\" masquerade"));
  EXPECT_THAT(dnsmasq_hosts(leases), "52:54:00:00:00:01,10.89.7.2,box\n");
  lab.internal = true;
  EXPECT_THAT(nft_script(lab, {}), Not(HasSubstr("oifname != \"ny-lab\" masquerade")));
  EXPECT_THAT(nft_script(lab, {}), HasSubstr("iifname \"ny-lab\" drop"));
}

TEST(BridgeRules, LeasesAreReadStrictly) {
  const Lease lease{.mac = "52:54:00:00:00:01", .address = {0x0a590702}, .name = "box", .publish = *parse_port_spec("8080:80/udp")};
  EXPECT_EQ(Lease::from_json(lease.to_json()).value(), lease);
  for (const char* text : {"{}", "{\"mac\":\"x\"}", R"({"mac":"52:54:00:00:00:01","address":"1"})",
                           R"({"mac":"52:54:00:00:00:01","address":"10.0.0.1","name":"a\nb"})"}) {
    EXPECT_FALSE(Lease::from_json(text)) << text;
  }
}

}  // namespace
}  // namespace nagaya::net
