// Guests joined by a wire: they reach each other, large transfers arrive whole in both directions, with and without offloads,
// over cables that are pulled, after being saved.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "disk_util.hpp"
#include "net_wire.hpp"

namespace nagaya::system_test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr unsigned megabytes = 12;

std::string link_to(const Wire& wire, unsigned end, const std::string& more = {}) { return "socket=" + wire.path(end) + more; }

/// Waits until the other guest answers.
std::string reach(unsigned host) {
  const std::string address = "10.9.0." + std::to_string(host);
  return "for i in $(seq 100); do ping -c 1 -W 1 " + address + " >/dev/null && break; done; ";
}

/// Every "sum HASH" line of a guest.
std::vector<std::string> sums(const std::string& output) {
  std::vector<std::string> out;
  for (std::size_t at = 0; (at = output.find("sum ", at)) != std::string::npos; at += 4) out.push_back(output.substr(at + 4, 64));
  return out;
}

struct Transfer {
  Outcome client;
  std::vector<std::string> served, fetched;
};

/// Guest 1 serves a file of noise; guest 2 fetches it, and sends it back.
Transfer transfer(Wire& wire, const Words& more = {}, const std::string& card = {}) {
  const std::string size = std::to_string(megabytes);
  Command server(net_run(link_to(wire, 0, card), 1,
                         "dd if=/dev/urandom of=/tmp/f bs=1M count=" + size +
                             " 2>/dev/null; echo sum $(sha256sum /tmp/f); httpd -p 80 -h /tmp; echo ready; nc -l -p 9000 >/tmp/g; "
                             "echo sum $(sha256sum /tmp/g); nc -l -p 9001 >/dev/null",
                         more));
  Transfer out;
  if (!server.wait_for("ready")) {
    ADD_FAILURE() << server.output() << server.errors();
    return out;
  }
  out.client = run(net_run(link_to(wire, 1, card), 2,
                           reach(1) +
                               "ping -c 3 10.9.0.1; wget -q -O /tmp/f http://10.9.0.1/f; echo sum $(sha256sum /tmp/f); "
                               "nc 10.9.0.1 9000 </tmp/f; "
                               "for i in $(seq 60); do sleep 1; nc 10.9.0.1 9001 </dev/null && break; done; grep virtio /proc/interrupts",
                           more));
  EXPECT_TRUE(server.wait_end()) << server.output();
  EXPECT_EQ(server.exit_code(), 0) << server.errors();
  out.served = sums(server.output());
  out.fetched = sums(out.client.output);
  return out;
}

void all_the_same(const Transfer& done) {
  EXPECT_EQ(done.client.code, 0) << done.client.errors;
  EXPECT_THAT(done.client.output, HasSubstr("3 packets transmitted, 3 packets received"));
  ASSERT_EQ(done.served.size(), 2u);
  ASSERT_EQ(done.fetched.size(), 1u) << done.client.output;
  EXPECT_THAT(done.served[0], ::testing::MatchesRegex("[0-9a-f]{64}"));
  EXPECT_EQ(done.served[0], done.fetched[0]);
  EXPECT_EQ(done.served[0], done.served[1]);
}

TEST(Net, TwoGuestsSendEachOtherLargePackets) {
  Wire wire("offloads");
  all_the_same(transfer(wire));
  EXPECT_GT(wire.largest(0), 20000u);
  EXPECT_GT(wire.largest(1), 20000u);
}

TEST(Net, WithoutOffloadsEveryFrameIsAnOrdinaryOne) {
  Wire wire("plain", false);
  all_the_same(transfer(wire));
  EXPECT_LE(wire.largest(0), 1514u);
  EXPECT_LE(wire.largest(1), 1514u);
}

TEST(Net, ALimitedCardLosesNothing) {
  Wire wire("limited");
  all_the_same(transfer(wire, {}, ",rate-in=6M,rate-out=5M,mtu=1400"));
}

TEST(Net, TheCableIsPulledAndPutBack) {
  Wire wire("cable");
  const std::string socket = scratch("cable-control");
  Command other(net_run(link_to(wire, 0), 1, "echo ready; nc -l -p 9001 >/dev/null"));
  ASSERT_TRUE(other.wait_for("ready"));
  Command guest(net_run(link_to(wire, 1), 2,
                        reach(1) +
                            "cd /sys/class/net/eth0; echo carrier $(cat carrier); while [ $(cat carrier) = 1 ]; do sleep 0.1; done; "
                            "echo carrier $(cat carrier); ping -c 1 -W 1 10.9.0.1 | grep received; while [ $(cat carrier) = 0 ]; do sleep 0.1; done; " +
                            reach(1) + "ping -c 2 10.9.0.1 | grep received; nc 10.9.0.1 9001 </dev/null",
                        {"--control", socket}));
  ASSERT_TRUE(guest.wait_for("carrier 1")) << guest.output();
  EXPECT_THAT(control(socket, R"({"command":"link","card":"net7","up":false})"), HasSubstr("there are 1"));
  EXPECT_THAT(control(socket, R"({"command":"link","card":"net0","up":false})"), HasSubstr("\"ok\":true"));
  ASSERT_TRUE(guest.wait_for("carrier 0")) << guest.output();
  EXPECT_THAT(control(socket, R"({"command":"stats"})"), HasSubstr("link down"));
  ASSERT_TRUE(guest.wait_for("received"));
  EXPECT_THAT(control(socket, R"({"command":"link","card":"net0","up":true})"), HasSubstr("\"ok\":true"));
  ASSERT_TRUE(guest.wait_end()) << guest.output();
  EXPECT_THAT(guest.output(), Not(HasSubstr("1 packets transmitted, 1 packets received")));
  EXPECT_THAT(guest.output(), HasSubstr("2 packets transmitted, 2 packets received"));
  EXPECT_TRUE(other.wait_end());
}

TEST(Net, ASavedGuestGoesOnTalkingOverANewLink) {
  Wire wire("saved");
  const std::string socket = scratch("net-saved-control"), file = scratch("net-saved-state");
  Command other(net_run(link_to(wire, 0), 1, "echo ready; nc -l -p 9000 >/tmp/g; echo sum $(sha256sum /tmp/g)"));
  ASSERT_TRUE(other.wait_for("ready"));
  // A transfer that a rate stretches over the saving.
  Command guest(net_run(link_to(wire, 1, ",rate-out=3M"), 2,
                        "dd if=/dev/urandom of=/tmp/f bs=1M count=" + std::to_string(megabytes) + " 2>/dev/null; echo sum $(sha256sum /tmp/f); " + reach(1) +
                            "echo sending; nc 10.9.0.1 9000 </tmp/f; echo sent",
                        {"--control", socket}));
  ASSERT_TRUE(guest.wait_for("sending"));
  sleep_for(0.7);
  ASSERT_THAT(control_save(socket, file, true), HasSubstr("\"ok\":true"));
  ASSERT_TRUE(guest.wait_end());
  ASSERT_THAT(guest.output(), Not(HasSubstr("sent"))) << "it was over before it was saved";
  const Outcome refused = run({"run", "--restore", file, "--no-reboot", "--net", "socket=" + scratch("nobody")});
  EXPECT_EQ(refused.code, 125);
  EXPECT_THAT(refused.errors, HasSubstr("cannot connect to the network"));
  const Outcome again = run({"run", "--restore", file, "--no-reboot", "--net", link_to(wire, 1)});
  EXPECT_EQ(again.code, 0) << again.errors;
  EXPECT_THAT(again.output, HasSubstr("sent"));
  ASSERT_TRUE(other.wait_end()) << other.output();
  EXPECT_EQ(sums(other.output()), sums(guest.output()));
}

TEST(Net, ResetsInTheMiddleOfTraffic) {
  Wire wire("resets");
  Command other(net_run(link_to(wire, 0), 1, "ping -i 0.003 -s 1400 10.9.0.2 >/dev/null & echo ready; nc -l -p 9001 >/dev/null"));
  ASSERT_TRUE(other.wait_for("ready"));
  const Outcome guest = run(net_run(link_to(wire, 1), 2,
                                    reach(1) +
                                        "for i in 1 2 3 4 5 6; do ping -c 4 -i 0.05 -s 1400 10.9.0.1 >/dev/null; rmmod virtio_net; modprobe virtio_net; "
                                        "ip addr add 10.9.0.2/24 dev eth0; ip link set eth0 up; done; " +
                                        reach(1) + "ping -c 3 10.9.0.1; nc 10.9.0.1 9001 </dev/null"));
  EXPECT_EQ(guest.code, 0);
  EXPECT_THAT(guest.output, HasSubstr("3 packets transmitted, 3 packets received"));
  EXPECT_TRUE(other.wait_end());
}

}  // namespace
}  // namespace nagaya::system_test
