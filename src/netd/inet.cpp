#include "netd/inet.hpp"

namespace nagaya::netd {

std::optional<Transport> find_transport(std::span<const u8> frame) {
  if (frame.size() < 14) return {};
  Transport at{.ip = 14};
  u16 type = get16(frame.data() + 12);
  if (type == ethertype_vlan) {
    if (frame.size() < 18) return {};
    type = get16(frame.data() + 16);
    at.ip = 18;
  }
  const u8* ip = frame.data() + at.ip;
  const std::size_t left = frame.size() - at.ip;
  if (type == ethertype_ip4) {
    if (left < 20 || ip[0] >> 4 != 4) return {};
    const std::size_t header = (ip[0] & 15) * 4u, total = get16(ip + 2);
    if (header < 20 || total < header || total > left) return {};
    if ((get16(ip + 6) & 0x3fff) != 0) return {};  // a fragment: more follow, or not the first
    at.protocol = ip[9];
    at.transport = at.ip + header;
    at.end = at.ip + total;
  } else if (type == ethertype_ip6) {
    if (left < 40 || ip[0] >> 4 != 6) return {};
    const std::size_t length = get16(ip + 4);
    if (length > left - 40) return {};
    at.v6 = true;
    at.protocol = ip[6];
    at.transport = at.ip + 40;
    at.end = at.transport + length;
  } else {
    return {};
  }
  const std::size_t room = at.end - at.transport;
  if (at.protocol == protocol_tcp) {
    if (room < 20) return {};
    const std::size_t header = (frame[at.transport + 12] >> 4) * 4u;
    if (header < 20 || header > room) return {};
    at.payload = at.transport + header;
  } else if (at.protocol == protocol_udp) {
    if (room < 8) return {};
    at.payload = at.transport + 8;
  } else {
    return {};
  }
  return at;
}

}  // namespace nagaya::netd
