// The control queue (VIRTIO 1.2, 5.1.6.5). On the control thread.
#include <cstring>

#include "virtio/net/layout.hpp"
#include "virtio/net/net.hpp"
#include "virtio/net/pair.hpp"

namespace nagaya::virtio {

using namespace net_layout;

namespace {

constexpr u64 data_at = 2;  // behind class and command

/// One of the two tables of MAC_TABLE_SET; false: its count contradicts the request's size.
bool read_table(const Chain& chain, u64& at, u64 end, std::vector<net::Mac>& out, bool& overflow) {
  u32 count;
  if (end - at < sizeof count || !chain.read_value(at, count)) return false;
  at += sizeof count;
  if (count > (end - at) / sizeof(net::Mac)) return false;
  overflow = count > NetFilter::most_addresses;
  out.clear();
  for (u32 i = 0; !overflow && i < count; ++i) {
    net::Mac mac;
    if (!chain.read_value(at + u64{i} * sizeof mac, mac)) return false;
    out.push_back(mac);
  }
  at += u64{count} * sizeof(net::Mac);
  return true;
}

}  // namespace

void Net::serve_control() {
  const unsigned index = control_queue();
  Chain chain;
  serve_all(index, chain, [&](const Chain& request) -> std::optional<u64> {
    if (request.writable_bytes == 0) {
      broken("a network command without room for its answer");
      return 0;
    }
    const u8 answer = negotiated(f_ctrl_vq) && obey(request, request.readable_bytes) ? answer_ok : answer_error;
    return request.write(0, {&answer, 1});
  });
}

bool Net::obey(const Chain& chain, u64 bytes) {
  u8 kind, command;
  if (!chain.read_value(0, kind) || !chain.read_value(1, command)) return false;
  switch (kind) {
    case class_rx:
      return negotiated(f_ctrl_rx) && obey_rx(command, chain);
    case class_mac:
      return obey_mac(command, chain, bytes);
    case class_vlan:
      return negotiated(f_ctrl_vlan) && obey_vlan(command, chain);
    case class_announce:
      if (command != announce_ack || !negotiated(f_guest_announce)) return false;
      announce_ = false;
      return true;
    case class_mq: {
      u16 count;
      return command == mq_pairs_set && negotiated(f_mq) && chain.read_value(data_at, count) && set_pairs(count);
    }
    case class_offloads: {
      u64 wanted;
      return command == offloads_set && negotiated(f_ctrl_guest_offloads) && chain.read_value(data_at, wanted) && set_offloads(wanted);
    }
    default:
      return false;
  }
}

bool Net::obey_rx(u8 command, const Chain& chain) {
  u8 on;
  if (!chain.read_value(data_at, on)) return false;
  if (command > rx_all_multicast && !negotiated(f_ctrl_rx_extra)) return false;
  std::lock_guard lock(filter_mutex_);
  switch (command) {
    case rx_promiscuous: filter_.promiscuous = on; break;
    case rx_all_multicast: filter_.all_multicast = on; break;
    case rx_all_unicast: filter_.all_unicast = on; break;
    case rx_no_multicast: filter_.no_multicast = on; break;
    case rx_no_unicast: filter_.no_unicast = on; break;
    case rx_no_broadcast: filter_.no_broadcast = on; break;
    default: return false;
  }
  filter_changed();
  return true;
}

bool Net::obey_mac(u8 command, const Chain& chain, u64 bytes) {
  if (command == mac_addr_set) {
    net::Mac mac;
    if (!negotiated(f_ctrl_mac_addr) || bytes != data_at + sizeof mac || !chain.read_value(data_at, mac)) return false;
    std::lock_guard lock(filter_mutex_);
    filter_.mac = mac;
    filter_changed();
    return true;
  }
  if (command != mac_table_set || !negotiated(f_ctrl_rx)) return false;
  std::vector<net::Mac> unicast, multicast;
  bool all_unicast = false, all_multicast = false;
  u64 at = data_at;
  if (!read_table(chain, at, bytes, unicast, all_unicast) || !read_table(chain, at, bytes, multicast, all_multicast)) return false;
  std::lock_guard lock(filter_mutex_);
  filter_.unicast = std::move(unicast);
  filter_.multicast = std::move(multicast);
  filter_.unicast_overflow = all_unicast;
  filter_.multicast_overflow = all_multicast;
  filter_changed();
  return true;
}

bool Net::obey_vlan(u8 command, const Chain& chain) {
  u16 id;
  if (command > vlan_del || !chain.read_value(data_at, id)) return false;
  std::lock_guard lock(filter_mutex_);
  if (id >= filter_.vlans.size()) return false;
  filter_.vlans[id] = command == vlan_add;
  filter_changed();
  return true;
}

/// Pairs beyond `count` rest: their rings are not looked at, their links not read.
bool Net::set_pairs(u16 count) {
  if (count < 1 || count > pairs_.size()) return false;
  for (unsigned i = 0; i < pairs_.size(); ++i) {
    NetPair& pair = *pairs_[i];
    if (i >= active_ && i < count) {
      (void)pair.link().attach(true);
      pair.go();
    } else if (i >= count && i < active_) {
      pair.halt();
      (void)pair.link().attach(false);
    }
  }
  active_ = count;
  return true;
}

bool Net::set_offloads(u64 bits) {
  if (bits & ~guest_offloads || !negotiated(bits)) return false;
  offloads_off_ = guest_offloads & ~bits;
  update_offloads();
  for (auto& pair : pairs_) pair->offloads_changed();
  return true;
}

}  // namespace nagaya::virtio
