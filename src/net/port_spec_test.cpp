#include "net/port_spec.hpp"

#include <gtest/gtest.h>

#include "net/hello.hpp"

namespace nagaya::net {
namespace {

TEST(PortSpec, Forms) {
  const auto plain = parse_port_spec("8080:80");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->size(), 1u);
  EXPECT_EQ(plain->front(), (PortSpec{.host = 8080, .guest = 80}));
  EXPECT_EQ(parse_port_spec("127.0.0.1:53:5353/udp")->front(), (PortSpec{.address = {0x7f000001}, .host = 53, .guest = 5353, .udp = true}));
  EXPECT_EQ(parse_port_spec("8080:80/tcp")->front().text(), "0.0.0.0:8080:80/tcp");
}

TEST(PortSpec, Ranges) {
  const auto range = parse_port_spec("8000-8002:80-82");
  ASSERT_TRUE(range);
  ASSERT_EQ(range->size(), 3u);
  EXPECT_EQ((*range)[2], (PortSpec{.host = 8002, .guest = 82}));
  EXPECT_FALSE(parse_port_spec("8000-8002:80-81"));
  EXPECT_FALSE(parse_port_spec("8002-8000:82-80"));
  EXPECT_FALSE(parse_port_spec("1-65535:1-65535"));
}

TEST(PortSpec, NonsenseIsRefusedWithAReason) {
  for (const char* text : {"", "80", ":", ":80", "80:", "0:80", "80:0", "65536:1", "-1:1", "80:80/sctp", "80:80/", "x:80", "80:x", "1.2.3:80:80",
                           "::1:80:80", "host:80:80", "80:80 ", " 80:80", "80:80\n", "+1:1", "--rm:80:80", "1:2:3:4"}) {
    const auto parsed = parse_port_spec(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_NE(parsed.error().message(), "") << text;
  }
}

TEST(Net4, Subnets) {
  EXPECT_EQ(Net4::parse("10.1.0.0/16")->text(), "10.1.0.0/16");
  EXPECT_TRUE(Net4::parse("10.0.2.0/24")->contains(*Ip4::parse("10.0.2.255")));
  EXPECT_FALSE(Net4::parse("10.0.2.0/24")->contains(*Ip4::parse("10.0.3.0")));
  EXPECT_TRUE(Net4::parse("10.0.0.0/8")->overlaps(*Net4::parse("10.9.8.0/24")));
  EXPECT_FALSE(Net4::parse("10.0.2.0/24")->overlaps(*Net4::parse("10.0.3.0/24")));
  for (const char* text : {"10.0.2.1/24", "10.0.2.0", "10.0.2.0/30", "10.0.2.0/7", "10.0.2.0/x", "10.0.2/24", "127.0.0.0/8", "224.0.0.0/8", "", "/24"})
    EXPECT_FALSE(Net4::parse(text)) << text;
}

TEST(Hello, ThereAndBack) {
  const Hello hello{.mac = "52:54:00:00:00:01", .name = "box", .publish = *parse_port_spec("127.0.0.1:8000-8001:80-81/udp")};
  EXPECT_EQ(Hello::from_json(hello.to_json()).value(), hello);
  const Welcome welcome{.address = "10.0.2.15/24", .gateway = "10.0.2.2", .mtu = 1500};
  EXPECT_EQ(Welcome::from_json(welcome.to_json()).value(), welcome);
}

TEST(Hello, WhatIsNoneIsRefused) {
  for (const char* text : {"", "{", "[]", "{\"x\":1}", "{\"mac\":\"zz\"}", "{\"name\":\"a b\"}", "{\"name\":\"a\\u0000b\"}", "{\"publish\":[\"80\"]}", "{\"publish\":80}"})
    EXPECT_FALSE(Hello::from_json(text)) << text;
  EXPECT_FALSE(Hello::from_json("{\"name\":\"" + std::string(64, 'a') + "\"}"));
}

}  // namespace
}  // namespace nagaya::net
