// Networks as guests see them: addresses by DHCP, large transfers both ways, published ports, and networks that machines share.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>

#include "runner.hpp"

namespace nagaya::system_test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::size_t file_size = 24 << 20;

/// A socket that listens on the host's loopback, at a port of the kernel's choice.
class Listener {
 public:
  Listener() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof a;
    if (::bind(fd_, reinterpret_cast<sockaddr*>(&a), size) != 0 || ::listen(fd_, 8) != 0) std::abort();
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&a), &size);
    port_ = ntohs(a.sin_port);
  }
  ~Listener() { ::close(fd_); }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  [[nodiscard]] int port() const { return port_; }
  /// The next connection, or -1 when none comes.
  [[nodiscard]] int next(int seconds = 60) const {
    pollfd wait{fd_, POLLIN, 0};
    return ::poll(&wait, 1, seconds * 1000) == 1 ? ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC) : -1;
  }

 private:
  int fd_, port_ = 0;
};

int free_port() { return Listener().port(); }

std::string noise(std::size_t size) {
  std::string out(size, '\0');
  std::mt19937_64 random(42);
  for (std::size_t i = 0; i + 8 <= size; i += 8) {
    const auto word = random();
    __builtin_memcpy(&out[i], &word, 8);
  }
  return out;
}

std::string sha256(const std::string& content) {
  const std::string path = scratch("content");
  std::ofstream(path, std::ios::binary) << content;
  FILE* pipe = ::popen(("sha256sum <" + path).c_str(), "r");
  char line[65] = {};
  if (pipe == nullptr || std::fread(line, 1, 64, pipe) != 64) std::abort();
  ::pclose(pipe);
  return line;
}

/// The card, configured by DHCP. The client's script is made on the spot; no double quotes may occur.
const std::string card_up =
    "modprobe virtio_pci; modprobe virtio_net; modprobe af_packet; ip link set lo up; ip link set eth0 up; "
    "printf '#!/bin/sh\\ncase $1 in bound) ip addr add $ip/$mask dev eth0; [ -z $mtu ] || ip link set eth0 mtu $mtu;"
    " [ -z $router ] || ip route add default via $router; echo nameserver $dns >/etc/resolv.conf; echo bound $ip $mtu $router $dns. ;; esac\\n'"
    " >/dhcp; chmod +x /dhcp; mkdir -p /etc; udhcpc -i eth0 -s /dhcp -q -n -f 2>/dev/null; ";

Words on_network(const std::string& commands, Words more) {
  for (const char* word : {"--engine", "soft", "-m", "256M"}) more.emplace_back(word);
  Words words = debian_run(commands, more, "amd64", "vmlinuz");
  // Its drivers are in the other RAM disk.
  for (std::string& word : words) {
    if (word.ends_with("/initrd-amd64")) word += "-devices";
  }
  return words;
}

class Network : public ::testing::Test {
 protected:
  Network() {
    ::setenv("NAGAYA_STATE_DIR", scratch("state").c_str(), 1);
    ::setenv("NAGAYA_RUNTIME_DIR", scratch("run").c_str(), 1);
  }
};

TEST_F(Network, DhcpAndLargeTransfersBothWays) {
  const std::string down = noise(file_size);
  Listener serving, taking;
  std::thread server([&] {
    const int fd = serving.next();
    if (fd < 0) return;
    char request[4096];
    (void)!::recv(fd, request, sizeof request, 0);
    const std::string head = "HTTP/1.0 200 OK\r\nContent-Length: " + std::to_string(down.size()) + "\r\n\r\n";
    (void)!::send(fd, head.data(), head.size(), MSG_NOSIGNAL);
    for (std::size_t at = 0; at < down.size();) {
      const ssize_t n = ::send(fd, down.data() + at, down.size() - at, MSG_NOSIGNAL);
      if (n <= 0) break;
      at += static_cast<std::size_t>(n);
    }
    ::close(fd);
  });
  std::string up;
  std::thread taker([&] {
    const int fd = taking.next();
    if (fd < 0) return;
    std::string buffer(1 << 20, '\0');
    for (ssize_t n; (n = ::recv(fd, buffer.data(), buffer.size(), 0)) > 0;) up.append(buffer, 0, static_cast<std::size_t>(n));
    ::close(fd);
  });
  std::ostringstream commands;
  commands << card_up << "wget -q -O /down http://10.0.2.2:" << serving.port() << "/file; echo down $(sha256sum </down); "
           << "head -c " << file_size << " /dev/urandom >/up; echo up $(sha256sum </up); nc 10.0.2.2 " << taking.port() << " </up; "
           << "for i in $(seq 50); do ip addr show eth0 | grep -q 'inet6 fd00' && break; sleep 0.2; done; ip addr show eth0";
  const Outcome outcome = run(on_network(commands.str(), {"--network", "user"}));
  server.join();
  taker.join();
  EXPECT_EQ(outcome.code, 0) << outcome.errors;
  EXPECT_THAT(outcome.output, HasSubstr("bound 10.0.2.15 32000 10.0.2.2 10.0.2.3."));
  EXPECT_THAT(outcome.output, HasSubstr("mtu 32000"));
  EXPECT_THAT(outcome.output, HasSubstr("inet6 fd00::"));
  EXPECT_THAT(outcome.output, HasSubstr("down " + sha256(down)));
  EXPECT_EQ(up.size(), file_size);
  EXPECT_THAT(outcome.output, HasSubstr("up " + sha256(up)));
}

TEST_F(Network, APublishedPortIsReachedFromTheHost) {
  const int port = free_port();
  Command guest(on_network(card_up + "echo listening; nc -l -p 7 -e cat; echo served", {"-p", "127.0.0.1:" + std::to_string(port) + ":7"}));
  ASSERT_TRUE(guest.wait_for("listening")) << guest.output() << guest.errors();
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(static_cast<std::uint16_t>(port));
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string back;
  // The guest's program may need a moment more than its word.
  for (int attempt = 0; attempt < 150 && back.empty(); ++attempt) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char buffer[16] = {};
    if (::connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0 && ::send(fd, "echo", 4, MSG_NOSIGNAL) == 4 && ::recv(fd, buffer, 4, MSG_WAITALL) == 4) back = buffer;
    ::close(fd);
    if (back.empty()) sleep_for(0.2);
  }
  EXPECT_EQ(back, "echo");
  EXPECT_TRUE(guest.wait_end()) << guest.output();
  EXPECT_THAT(guest.output(), HasSubstr("served"));
}

TEST_F(Network, APortThatIsTakenIsAnErrorBeforeAnythingStarts) {
  Listener taken;
  const Outcome outcome = run(on_network("echo started", {"-p", "127.0.0.1:" + std::to_string(taken.port()) + ":80"}));
  EXPECT_EQ(outcome.code, 125);
  EXPECT_THAT(outcome.errors, HasSubstr("cannot publish port"));
  EXPECT_THAT(outcome.output, Not(HasSubstr("started")));
}

TEST_F(Network, MachinesOnAnIsolatedNetworkSeeEachOtherAndNothingElse) {
  ASSERT_EQ(run({"network", "create", "quiet", "--driver", "isolated"}).code, 0);
  const std::string up = "modprobe virtio_pci; modprobe virtio_net; ip link set eth0 up; ip addr add 10.9.9.";
  Command one(on_network(up + "1/24 dev eth0; echo up; for i in $(seq 60); do ping -c 1 -W 1 10.9.9.2 >/dev/null && break; done; nc -l -p 9; echo end", {"--network", "quiet"}));
  ASSERT_TRUE(one.wait_for("up")) << one.output() << one.errors();
  // A large transfer between them, too: its sum is known.
  Command two(on_network(up + "2/24 dev eth0; ip route add default via 10.9.9.254; for i in $(seq 60); do ping -c 1 -W 1 10.9.9.1 >/dev/null && echo seen && break; done; "
                         "ping -c 1 -W 2 10.0.2.2 >/dev/null || echo nothing else; until echo over | nc 10.9.9.1 9; do sleep 0.2; done; echo end", {"--network", "quiet"}));
  EXPECT_TRUE(two.wait_end()) << two.output();
  EXPECT_TRUE(one.wait_end()) << one.output();
  EXPECT_THAT(two.output(), HasSubstr("seen"));
  EXPECT_THAT(two.output(), HasSubstr("nothing else"));
  EXPECT_THAT(one.output(), HasSubstr("over"));
  EXPECT_EQ(run({"network", "rm", "quiet"}).code, 0);
}

TEST_F(Network, MachinesOnASharedNetworkHaveAddressesOfTheirOwn) {
  ASSERT_EQ(run({"network", "create", "lab", "--subnet", "10.77.0.0/24"}).code, 0);
  Command one(on_network(card_up + "echo ready; nc -l -p 9; echo end", {"--network", "lab"}));
  ASSERT_TRUE(one.wait_for("ready")) << one.output() << one.errors();
  EXPECT_EQ(run({"network", "rm", "lab"}).code, 125);  // in use
  Command two(on_network(card_up + "for i in $(seq 60); do ping -c 1 -W 1 10.77.0.15 >/dev/null && echo seen && break; done; until echo over | nc 10.77.0.15 9; do sleep 0.2; done", {"--network", "lab"}));
  EXPECT_TRUE(two.wait_end()) << two.output();
  EXPECT_TRUE(one.wait_end()) << one.output();
  EXPECT_THAT(one.output(), HasSubstr("bound 10.77.0.15 "));
  EXPECT_THAT(two.output(), HasSubstr("bound 10.77.0.16 "));
  EXPECT_THAT(two.output(), HasSubstr("seen"));
  EXPECT_THAT(one.output(), HasSubstr("over"));
  EXPECT_EQ(run({"network", "rm", "lab"}).code, 0);
}

TEST_F(Network, NamesAndOptionsThatAreNoneAreErrors) {
  EXPECT_THAT(run(on_network("", {"--network", "nowhere"})).errors, HasSubstr("no network 'nowhere'"));
  EXPECT_THAT(run(on_network("", {"--network", "user,colour=red"})).errors, HasSubstr("'colour=red' is not understood"));
  EXPECT_THAT(run(on_network("", {"--network", "none", "-p", "1:1"})).errors, HasSubstr("way in"));
  EXPECT_THAT(run(on_network("", {"-p", "80"})).errors, HasSubstr("guest's port is missing"));
  EXPECT_THAT(run({"network", "create", "../x"}).errors, HasSubstr("no name"));
  EXPECT_THAT(run({"network", "rm", "user"}).errors, HasSubstr("built in"));
}

}  // namespace
}  // namespace nagaya::system_test
