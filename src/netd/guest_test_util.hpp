// A guest made by hand: frames out of a socket and into it, with just enough ARP, DHCP and TCP.
#pragma once
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "net/hello.hpp"
#include "net/mac.hpp"
#include "net/segment.hpp"
#include "net/wire.hpp"
#include "netd/inet.hpp"
#include "netd/server.hpp"

namespace nagaya::netd {

struct Packet {
  net::Header header{};
  std::vector<u8> frame{};
  std::string text{};  ///< a JSON message instead
};

class Guest {
 public:
  static constexpr net::Mac everybody = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

  Guest(Server& server, u8 number) : mac{0x52, 0x54, 0, 0, 0, number}, server_(server) {
    int pair[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    socket_ = host::Fd(pair[0]);
    EXPECT_TRUE(server.add_port(host::Fd(pair[1])));
    stop_ = host::Fd::eventfd().value();
  }

  void send_raw(std::span<const u8> message) { EXPECT_EQ(::send(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL), static_cast<ssize_t>(message.size())); }
  void send(const net::Header& header, std::span<const u8> frame) {
    std::vector<u8> message(sizeof header + frame.size());
    std::memcpy(message.data(), &header, sizeof header);
    std::copy(frame.begin(), frame.end(), message.begin() + sizeof header);
    send_raw(message);
  }
  void offloads(u32 bits) { send_raw({reinterpret_cast<const u8*>(&bits), sizeof bits}); }
  net::Welcome hello(const net::Hello& hello) {
    const std::string json = hello.to_json();
    send_raw({reinterpret_cast<const u8*>(json.data()), json.size()});
    const auto answer = wait([](const Packet& p) { return !p.text.empty(); });
    return answer ? net::Welcome::from_json(answer->text).value_or(net::Welcome{.error = "not understood"}) : net::Welcome{.error = "no answer"};
  }
  void leave() { socket_.reset(); }

  /// The next packet that is `wanted`, while the server works; others are passed over.
  std::optional<Packet> wait(const std::function<bool(const Packet&)>& wanted, int turns = 400) {
    for (; turns > 0; --turns) {
      while (auto packet = take()) {
        if (wanted(*packet)) return packet;
      }
      server_.turn(stop_.get(), 10);
    }
    return {};
  }
  /// What came meanwhile.
  std::vector<Packet> all(int turns = 5) {
    std::vector<Packet> out;
    for (; turns > 0; --turns) {
      server_.turn(stop_.get(), 1);
      while (auto packet = take()) out.push_back(std::move(*packet));
    }
    return out;
  }

  [[nodiscard]] std::vector<u8> ethernet(const net::Mac& to, u16 type, std::span<const u8> payload) const {
    std::vector<u8> out(to.begin(), to.end());
    out.insert(out.end(), mac.begin(), mac.end());
    out.push_back(static_cast<u8>(type >> 8));
    out.push_back(static_cast<u8>(type));
    out.insert(out.end(), payload.begin(), payload.end());
    return out;
  }
  [[nodiscard]] std::vector<u8> arp(net::Ip4 sender, net::Ip4 target) const {
    std::vector<u8> p(28);
    put16(&p[0], 1);
    put16(&p[2], ethertype_ip4);
    p[4] = 6;
    p[5] = 4;
    put16(&p[6], 1);
    std::copy(mac.begin(), mac.end(), p.begin() + 8);
    put32(&p[14], sender.value);
    put32(&p[24], target.value);
    return ethernet(everybody, ethertype_arp, p);
  }
  /// An IPv4 packet with a transport header and payload behind it; checksums are filled in.
  [[nodiscard]] std::vector<u8> ip(const net::Mac& to_mac, net::Ip4 from, net::Ip4 to, u8 protocol, std::vector<u8> body, bool complete = true) const {
    std::vector<u8> p(20);
    p[0] = 0x45;
    put16(&p[2], static_cast<u16>(20 + body.size()));
    p[8] = 64;
    p[9] = protocol;
    put32(&p[12], from.value);
    put32(&p[16], to.value);
    put16(&p[10], net::finish_sum(net::add_sum(p)));
    const u64 pseudo = net::add_sum(std::span(p).subspan(12, 8)) + protocol + body.size();
    u8* field = &body[protocol == protocol_tcp ? 16 : 6];
    put16(field, 0);
    // A partial checksum is the pseudo header's sum, not negated (VIRTIO 1.2, 5.1.6.2.1).
    put16(field, complete ? net::finish_sum(net::add_sum(body, pseudo)) : static_cast<u16>(~net::finish_sum(pseudo)));
    p.insert(p.end(), body.begin(), body.end());
    return ethernet(to_mac, ethertype_ip4, p);
  }
  [[nodiscard]] static std::vector<u8> udp(u16 from, u16 to, std::span<const u8> payload) {
    std::vector<u8> out(8);
    put16(&out[0], from);
    put16(&out[2], to);
    put16(&out[4], static_cast<u16>(8 + payload.size()));
    out.insert(out.end(), payload.begin(), payload.end());
    return out;
  }
  [[nodiscard]] static std::vector<u8> tcp(u16 from, u16 to, u32 seq, u32 ack, u8 flags, std::span<const u8> payload = {}, u16 mss = 0) {
    std::vector<u8> out(mss != 0 ? 24 : 20);
    put16(&out[0], from);
    put16(&out[2], to);
    put32(&out[4], seq);
    put32(&out[8], ack);
    out[12] = static_cast<u8>(out.size() / 4 << 4);
    out[13] = flags;
    put16(&out[14], 65535);
    if (mss != 0) {
      out[20] = 2;
      out[21] = 4;
      put16(&out[22], mss);
    }
    out.insert(out.end(), payload.begin(), payload.end());
    return out;
  }
  /// Whether the checksums of a received packet are right.
  [[nodiscard]] static bool sound(const Packet& packet) {
    const auto at = find_transport(packet.frame);
    if (!at || at->v6) return false;
    const std::span<const u8> f = packet.frame;
    const u64 pseudo = net::add_sum(f.subspan(at->ip + 12, 8)) + at->protocol + (at->end - at->transport);
    return net::finish_sum(net::add_sum(f.subspan(at->ip, 20))) == 0 &&
           net::finish_sum(net::add_sum(f.subspan(at->transport, at->end - at->transport), pseudo)) == 0;
  }

  net::Mac mac;

 private:
  std::optional<Packet> take() {
    std::vector<u8> buffer(net::largest_message);
    const ssize_t got = ::recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got <= 0) return {};
    if (got == static_cast<ssize_t>(net::control_size)) {
      told_offloads = true;
      return take();
    }
    buffer.resize(static_cast<std::size_t>(got));
    Packet out;
    if (buffer[0] == '{') {
      out.text.assign(buffer.begin(), buffer.end());
    } else {
      std::memcpy(&out.header, buffer.data(), sizeof out.header);
      out.frame.assign(buffer.begin() + sizeof out.header, buffer.end());
    }
    return out;
  }

  Server& server_;
  host::Fd socket_, stop_;

 public:
  bool told_offloads = false;
};

}  // namespace nagaya::netd
