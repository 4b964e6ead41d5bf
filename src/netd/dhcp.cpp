#include "netd/dhcp.hpp"

#include <algorithm>
#include <cstring>

#include "net/segment.hpp"
#include "netd/inet.hpp"

namespace nagaya::netd {
namespace {

// RFC 2131, figure 1: offsets in a message.
constexpr std::size_t op_at = 0, hardware_type_at = 1, hardware_length_at = 2, xid_at = 4, flags_at = 10, ciaddr_at = 12, yiaddr_at = 16,
                      siaddr_at = 20, chaddr_at = 28, magic_at = 236, options_at = 240;
constexpr u32 magic = 0x63825363;
constexpr u16 server_port = 67, client_port = 68;
constexpr u8 boot_request = 1, boot_reply = 2, ethernet = 1;
constexpr u32 lease_seconds = 86400;
// A message of old BOOTP has 64 bytes of options, and some clients insist.
constexpr std::size_t smallest_message = 300;

enum Option : u8 {
  pad = 0, subnet_mask = 1, router = 3, dns_server = 6, host_name = 12, interface_mtu = 26, requested_address = 50, lease_time = 51,
  message_type = 53, server_id = 54, end = 255
};
enum Type : u8 { discover = 1, offer_type = 2, request = 3, ack = 5, nak = 6, inform = 8 };

/// The value of an option, at most 4 bytes of it as a number; nothing when it is absent or cut off.
std::optional<u32> number_option(std::span<const u8> options, Option wanted, std::size_t size) {
  for (std::size_t i = 0; i < options.size() && options[i] != end;) {
    if (options[i] == pad) {
      ++i;
      continue;
    }
    if (i + 1 >= options.size()) return {};
    const std::size_t length = options[i + 1];
    if (length > options.size() - i - 2) return {};
    if (options[i] == wanted) {
      if (length != size) return {};
      u32 out = 0;
      for (std::size_t k = 0; k < size; ++k) out = out << 8 | options[i + 2 + k];
      return out;
    }
    i += 2 + length;
  }
  return {};
}

/// The DHCP message in a frame that holds one for a server.
std::optional<std::span<const u8>> message_in(std::span<const u8> frame) {
  const auto at = find_transport(frame);
  if (!at || at->v6 || at->protocol != protocol_udp || get16(frame.data() + at->transport + 2) != server_port) return {};
  const std::size_t length = get16(frame.data() + at->transport + 4);
  if (length < 8 || length > at->end - at->transport) return {};
  return frame.subspan(at->payload, length - 8);
}

void add_option(std::vector<u8>& out, Option option, std::span<const u8> value) {
  out.push_back(option);
  out.push_back(static_cast<u8>(value.size()));
  out.insert(out.end(), value.begin(), value.end());
}
void add_option(std::vector<u8>& out, Option option, u32 value, std::size_t size = 4) {
  u8 bytes[4];
  put32(bytes, value);
  add_option(out, option, std::span(bytes + 4 - size, size));
}

/// Ethernet, IPv4 and UDP headers around a message.
std::vector<u8> wrap(std::span<const u8> message, const DhcpOffer& offer, const u8* to_mac, net::Ip4 to) {
  constexpr std::size_t ip = 14, udp = ip + 20, payload = udp + 8;
  std::vector<u8> out(payload + message.size());
  std::memcpy(out.data(), to_mac, 6);
  std::copy(offer.server_mac.begin(), offer.server_mac.end(), out.begin() + 6);
  put16(&out[12], ethertype_ip4);
  out[ip] = 0x45;
  put16(&out[ip + 2], static_cast<u16>(out.size() - ip));
  out[ip + 8] = 64;  // time to live
  out[ip + 9] = protocol_udp;
  put32(&out[ip + 12], offer.server.value);
  put32(&out[ip + 16], to.value);
  put16(&out[ip + 10], net::finish_sum(net::add_sum(std::span(out).subspan(ip, 20))));
  put16(&out[udp], server_port);
  put16(&out[udp + 2], client_port);
  put16(&out[udp + 4], static_cast<u16>(out.size() - udp));
  std::copy(message.begin(), message.end(), out.begin() + payload);
  // Over the pseudo header (RFC 768): both addresses, the protocol, the length.
  const u64 pseudo = net::add_sum(std::span(out).subspan(ip + 12, 8)) + protocol_udp + (out.size() - udp);
  const u16 sum = net::finish_sum(net::add_sum(std::span(out).subspan(udp), pseudo));
  put16(&out[udp + 6], sum == 0 ? u16{0xffff} : sum);
  return out;
}

}  // namespace

bool is_dhcp_request(std::span<const u8> frame) { return message_in(frame).has_value(); }

std::optional<std::vector<u8>> answer_dhcp(std::span<const u8> frame, const DhcpOffer& offer) {
  const auto found = message_in(frame);
  if (!found || found->size() < options_at) return {};
  const u8* const in = found->data();
  if (in[op_at] != boot_request || in[hardware_type_at] != ethernet || in[hardware_length_at] != 6 || get32(in + magic_at) != magic) return {};
  const std::span<const u8> options = found->subspan(options_at);
  const auto type = number_option(options, message_type, 1);
  if (!type || (*type != discover && *type != request && *type != inform)) return {};
  const net::Ip4 current{get32(in + ciaddr_at)};
  bool refuse = false;
  if (*type == request) {
    if (const auto server = number_option(options, server_id, 4); server && *server != offer.server.value) return {};  // another's offer
    const auto wanted = number_option(options, requested_address, 4);
    refuse = wanted ? *wanted != offer.address.value : current != offer.address;
  }

  std::vector<u8> out(options_at);
  out[op_at] = boot_reply;
  out[hardware_type_at] = ethernet;
  out[hardware_length_at] = 6;
  std::copy_n(in + xid_at, 4, out.begin() + xid_at);
  std::copy_n(in + flags_at, 2, out.begin() + flags_at);
  std::copy_n(in + chaddr_at, 16, out.begin() + chaddr_at);
  put32(&out[magic_at], magic);
  add_option(out, message_type, refuse ? nak : *type == discover ? offer_type : ack, 1);
  add_option(out, server_id, offer.server.value);
  if (!refuse) {
    put32(&out[siaddr_at], offer.server.value);
    if (*type != inform) {
      put32(&out[yiaddr_at], offer.address.value);
      add_option(out, lease_time, lease_seconds);
    } else {
      put32(&out[ciaddr_at], current.value);
    }
    add_option(out, subnet_mask, offer.subnet.mask());
    if (offer.router) add_option(out, router, offer.server.value);
    if (offer.dns) add_option(out, dns_server, offer.dns->value);
    if (offer.mtu != 0) add_option(out, interface_mtu, offer.mtu, 2);
    if (!offer.name.empty()) add_option(out, host_name, std::span(reinterpret_cast<const u8*>(offer.name.data()), offer.name.size()));
  }
  out.push_back(end);
  out.resize(std::max(out.size(), smallest_message));

  // RFC 2131, 4.1: to a client that has an address, there; else to all when it asks for that (or is refused), or to the one to be.
  constexpr u8 everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  constexpr net::Ip4 all{0xffffffff};
  const bool broadcast = refuse || (get16(in + flags_at) & 0x8000) != 0;
  if (broadcast) return wrap(out, offer, everybody, all);
  return wrap(out, offer, in + chaddr_at, *type == inform || current.value != 0 ? current : offer.address);
}

}  // namespace nagaya::netd
