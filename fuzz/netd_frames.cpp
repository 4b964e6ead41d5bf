// What a machine sends to its network's process: messages of two bytes of length and as many of content, from one of two
// ports in turn (a length with its top bit set changes the port). The way out is closed, so that nothing leaves this host.
#include <sys/socket.h>

#include <array>
#include <cstdlib>
#include <cstring>

#include "fuzz.hpp"
#include "net/wire.hpp"
#include "netd/server.hpp"

namespace {

using namespace nagaya;

void append(std::vector<u8>& out, const std::vector<u8>& message, bool other = false) {
  out.push_back(static_cast<u8>(message.size()));
  out.push_back(static_cast<u8>(message.size() >> 8 | (other ? 0x80 : 0)));
  out.insert(out.end(), message.begin(), message.end());
}

std::vector<u8> text(const char* json) { return {json, json + std::strlen(json)}; }

/// Header, Ethernet, IPv4 and what follows.
std::vector<u8> packet(const net::Header& header, u8 protocol, std::vector<u8> body) {
  constexpr std::size_t headers = sizeof header + 14 + 20;
  std::vector<u8> out(headers + body.size());
  std::memcpy(out.data(), &header, sizeof header);
  std::memset(&out[12], 0xff, 6);
  const std::array<u8, 6> mac = {0x52, 0x54, 0, 0, 0, 1};
  std::copy(mac.begin(), mac.end(), out.begin() + 18);
  out[24] = 8;
  u8* ip = &out[26];
  ip[0] = 0x45;
  ip[2] = static_cast<u8>((20 + body.size()) >> 8);
  ip[3] = static_cast<u8>(20 + body.size());
  ip[8] = 64;
  ip[9] = protocol;
  std::memset(ip + 16, 0xff, 4);
  std::copy(body.begin(), body.end(), out.begin() + headers);
  return out;
}

std::vector<u8> dhcp_discover() {
  std::vector<u8> body(8 + 240);
  body[1] = 68;
  body[3] = 67;
  body[4] = 0;
  body[5] = static_cast<u8>(8 + 240 + 4);
  body[8] = body[9] = 1;
  body[10] = 6;
  const std::array<u8, 8> end = {0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255};
  std::copy(end.begin(), end.begin() + 4, body.begin() + 8 + 236);
  body.insert(body.end(), end.begin() + 4, end.end());
  return packet({}, 17, body);
}

std::vector<u8> large_tcp() {
  std::vector<u8> body(20 + 4000, 0x55);
  body[12] = 0x50;
  return packet({.flags = 1, .gso_type = 1, .hdr_len = 54, .gso_size = 1000, .csum_start = 34, .csum_offset = 16}, 6, body);
}

struct Machine {
  host::Fd ours;
  void drain() const {
    std::array<u8, net::largest_message> buffer;
    while (::recv(ours.get(), buffer.data(), buffer.size(), MSG_DONTWAIT) > 0) {
    }
  }
};

}  // namespace

std::vector<std::vector<u8>> nagaya::fuzz::seeds() {
  std::vector<u8> all;
  append(all, text(R"({"mac":"52:54:00:00:00:01","name":"a"})"));
  append(all, {0x7f, 0, 0, 0}, true);
  append(all, dhcp_discover());
  append(all, large_tcp());
  std::vector<u8> dhcp, tcp;
  append(dhcp, dhcp_discover());
  append(tcp, large_tcp(), true);
  append(tcp, large_tcp());
  return {all, dhcp, tcp};
}

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  netd::GatewayConfig gateway{.restricted = true, .host_loopback = false};
  auto server = netd::Server::create({.gateway = gateway, .mtu = 1500});
  if (!server) std::abort();
  Machine machines[2];
  for (Machine& machine : machines) {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) std::abort();
    machine.ours = host::Fd(pair[0]);
    if (!(*server)->add_port(host::Fd(pair[1]))) std::abort();
  }
  const auto stop = host::Fd::eventfd();
  for (std::size_t at = 0; at + 2 <= size;) {
    const unsigned word = data[at] | data[at + 1] << 8;
    const std::size_t length = std::min<std::size_t>(word & 0x7fff, size - at - 2);
    (void)::send(machines[word >> 15].ours.get(), data + at + 2, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    at += 2 + length;
    (*server)->turn(stop->get(), 0);
    for (const Machine& machine : machines) machine.drain();
  }
  if ((*server)->network().learned() > 1 + 2 + 2 * netd::Switch::most_addresses) std::abort();
  return 0;
}
