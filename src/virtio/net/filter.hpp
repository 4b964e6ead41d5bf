// Which frames a guest wants to receive. Source: VIRTIO 1.2, 5.1.6.5.1 to 5.1.6.5.3.
#pragma once
#include <bitset>
#include <span>
#include <vector>

#include "net/mac.hpp"
#include "state/archive.hpp"

namespace nagaya::virtio {

struct NetFilter {
  static constexpr std::size_t most_addresses = 64;  ///< of each table

  net::Mac mac{};
  // A device after reset passes everything, until its driver says otherwise.
  bool promiscuous = true, all_multicast = false, all_unicast = false, no_multicast = false, no_unicast = false,
       no_broadcast = false;
  std::vector<net::Mac> unicast, multicast;
  bool unicast_overflow = false, multicast_overflow = false;  ///< the table was too long to keep
  std::bitset<4096> vlans;

  /// `start`: the frame's first bytes, at least 18 when the frame has that many. `by_vlan`: VLANs are filtered.
  [[nodiscard]] bool passes(std::span<const u8> start, bool by_vlan) const;
  void save(state::Writer& out) const;
  void restore(state::Reader& in);
};

}  // namespace nagaya::virtio
