#include "virtio/net/filter.hpp"

#include <algorithm>
#include <cstring>

namespace nagaya::virtio {
namespace {

constexpr net::Mac broadcast = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

bool among(const std::vector<net::Mac>& list, const net::Mac& mac) { return std::ranges::find(list, mac) != list.end(); }

void put(state::Writer& out, const std::vector<net::Mac>& list) {
  out.put(static_cast<u8>(list.size()));
  for (const net::Mac& mac : list) {
    for (const u8 byte : mac) out.put(byte);
  }
}

void take(state::Reader& in, std::vector<net::Mac>& list) {
  const u8 count = in.get<u8>();
  if (count > NetFilter::most_addresses) {
    in.reject("too many network addresses");
    return;
  }
  list.resize(count);
  for (net::Mac& mac : list) {
    for (u8& byte : mac) byte = in.get<u8>();
  }
}

}  // namespace

bool NetFilter::passes(std::span<const u8> start, bool by_vlan) const {
  if (promiscuous) return true;
  if (by_vlan && start.size() >= 16 && start[12] == 0x81 && start[13] == 0x00 && !vlans[(start[14] & 15) << 8 | start[15]]) return false;
  net::Mac to;
  std::memcpy(to.data(), start.data(), to.size());
  if (to[0] & 1) {
    if (to == broadcast) return !no_broadcast;
    return !no_multicast && (all_multicast || multicast_overflow || among(multicast, to));
  }
  return !no_unicast && (all_unicast || unicast_overflow || to == mac || among(unicast, to));
}

void NetFilter::save(state::Writer& out) const {
  for (const u8 byte : mac) out.put(byte);
  for (const bool mode : {promiscuous, all_multicast, all_unicast, no_multicast, no_unicast, no_broadcast, unicast_overflow, multicast_overflow}) out.put(mode);
  put(out, unicast);
  put(out, multicast);
  for (std::size_t at = 0; at < vlans.size(); at += 8) {
    u8 byte = 0;
    for (std::size_t bit = 0; bit < 8; ++bit) byte = static_cast<u8>(byte | vlans[at + bit] << bit);
    out.put(byte);
  }
}

void NetFilter::restore(state::Reader& in) {
  for (u8& byte : mac) byte = in.get<u8>();
  for (bool* mode : {&promiscuous, &all_multicast, &all_unicast, &no_multicast, &no_unicast, &no_broadcast, &unicast_overflow,
                     &multicast_overflow})
    *mode = in.get<bool>();
  take(in, unicast);
  take(in, multicast);
  for (std::size_t at = 0; at < vlans.size(); at += 8) {
    const u8 byte = in.get<u8>();
    for (std::size_t bit = 0; bit < 8; ++bit) vlans[at + bit] = byte >> bit & 1;
  }
}

}  // namespace nagaya::virtio
