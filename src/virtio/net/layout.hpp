// Numbers of VIRTIO 1.2, 5.1: feature bits, configuration space, control commands. Those of UDP segmentation are of 1.3.
#pragma once
#include "virtio/features.hpp"

namespace nagaya::virtio::net_layout {

inline constexpr u64 f_csum = feature(0), f_guest_csum = feature(1), f_ctrl_guest_offloads = feature(2), f_mtu = feature(3),
                     f_mac = feature(5), f_guest_tso4 = feature(7), f_guest_tso6 = feature(8), f_guest_ecn = feature(9),
                     f_host_tso4 = feature(11), f_host_tso6 = feature(12), f_host_ecn = feature(13), f_mrg_rxbuf = feature(15),
                     f_status = feature(16), f_ctrl_vq = feature(17), f_ctrl_rx = feature(18), f_ctrl_vlan = feature(19),
                     f_ctrl_rx_extra = feature(20), f_guest_announce = feature(21), f_mq = feature(22),
                     f_ctrl_mac_addr = feature(23), f_guest_uso4 = feature(54), f_guest_uso6 = feature(55),
                     f_host_uso = feature(56), f_speed_duplex = feature(63);

/// The features that a driver may turn on and off later (5.1.6.5.6).
inline constexpr u64 guest_offloads = f_guest_csum | f_guest_tso4 | f_guest_tso6 | f_guest_ecn | f_guest_uso4 | f_guest_uso6;

// struct virtio_net_config
inline constexpr u64 at_mac = 0, at_status = 6, at_pairs = 8, at_mtu = 10, at_speed = 12, at_duplex = 16, config_size = 20;
inline constexpr u16 status_link_up = 1, status_announce = 2;

// Control queue (5.1.6.5): class, command, data; then one byte of answer.
inline constexpr u8 class_rx = 0, class_mac = 1, class_vlan = 2, class_announce = 3, class_mq = 4, class_offloads = 5;
inline constexpr u8 rx_promiscuous = 0, rx_all_multicast = 1, rx_all_unicast = 2, rx_no_multicast = 3, rx_no_unicast = 4,
                    rx_no_broadcast = 5;
inline constexpr u8 mac_table_set = 0, mac_addr_set = 1, vlan_add = 0, vlan_del = 1, announce_ack = 0, mq_pairs_set = 0,
                    offloads_set = 0;
inline constexpr u8 answer_ok = 0, answer_error = 1;

}  // namespace nagaya::virtio::net_layout
