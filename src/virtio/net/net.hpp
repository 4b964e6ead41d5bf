// Network card over any net::Link: queue pairs with a thread each, a control queue, checksum and segmentation offloads,
// mergeable buffers. Source: VIRTIO 1.2, 5.1.
//
// Packets go between guest memory and the link's descriptor without a copy of ours. A full link, an empty ring and a used up
// rate each make one direction wait; nothing spins.
#pragma once
#include <memory>
#include <mutex>
#include <vector>

#include "net/link.hpp"
#include "net/mac.hpp"
#include "net/rate.hpp"
#include "virtio/device.hpp"
#include "virtio/net/filter.hpp"
#include "virtio/worker.hpp"

namespace nagaya::virtio {

class NetPair;

struct NetConfig {
  net::Mac mac{};
  u16 mtu = 0;           ///< told to the driver; 0: nothing is told
  u16 queue_size = 512;  ///< a power of two
  u64 rate_in = 0, rate_out = 0;  ///< bytes per second to and from the guest; 0: no limit
};

class Net final : public VirtioDevice {
 public:
  /// A queue pair for each link, 1 to 8.
  static Result<std::unique_ptr<Net>> create(std::string name, memory::GuestMemory& memory,
                                             std::vector<std::unique_ptr<net::Link>> links, NetConfig config);
  ~Net() override;

  /// Plugs the cable in or out. Any thread, any time.
  void set_link(bool up);
  [[nodiscard]] bool link_up() const { return plugged_.load(std::memory_order_relaxed) && !lost_.load(std::memory_order_relaxed); }

  struct Counters {
    u64 to_guest = 0, from_guest = 0;                  ///< packets
    u64 to_guest_dropped = 0, from_guest_dropped = 0;  ///< that made no sense or had no place
  };
  [[nodiscard]] Counters counters() const;

 private:
  Net(std::string name, memory::GuestMemory& memory, std::size_t pairs, NetConfig config);
  friend class NetPair;
  friend class NetReceiver;
  friend class NetSender;

  [[nodiscard]] u64 device_features() const override;
  void read_config(u64 offset, std::span<u8> data) override;
  void start() override;
  void stop() override;
  void kicked(unsigned queue) override;
  [[nodiscard]] int kick_event(unsigned queue) const override;
  void reset_state() override;
  void save_state(state::Writer& out) const override;
  void restore_state(state::Reader& in) override;

  // ---- For the pairs' threads. ----
  /// What the driver can receive now, as net::offload bits.
  [[nodiscard]] u32 receive_offloads() const { return receive_offloads_.load(std::memory_order_relaxed); }
  /// What it may send.
  [[nodiscard]] u32 send_offloads() const;
  /// Copies the filter when it is newer than `version`.
  void refresh_filter(NetFilter& filter, u32& version) const;
  /// The other side of a link is gone.
  void link_lost();

  // ---- Control queue (control.cpp). ----
  void serve_control();
  [[nodiscard]] bool obey(const Chain& chain, u64 bytes);
  [[nodiscard]] bool obey_rx(u8 command, const Chain& chain);
  [[nodiscard]] bool obey_mac(u8 command, const Chain& chain, u64 bytes);
  [[nodiscard]] bool obey_vlan(u8 command, const Chain& chain);
  [[nodiscard]] bool set_pairs(u16 count);
  [[nodiscard]] bool set_offloads(u64 bits);
  [[nodiscard]] unsigned control_queue() const;
  void filter_changed() { filter_version_.fetch_add(1, std::memory_order_release); }
  void update_offloads();

  const NetConfig config_;
  net::RateLimit rate_in_, rate_out_;
  std::atomic<bool> plugged_ = true, lost_ = false;
  std::atomic<bool> announce_ = false;
  bool announce_due_ = false;            // after a restore
  std::atomic<u32> receive_offloads_ = 0;
  u64 offloads_off_ = 0;                 // features that the driver turned off again; control thread or stopped
  unsigned active_ = 1;                  // pairs in use; the same
  mutable std::mutex filter_mutex_;
  NetFilter filter_;                     // guarded by filter_mutex_
  std::atomic<u32> filter_version_ = 1;
  std::vector<std::unique_ptr<NetPair>> pairs_;
  Worker control_;
};

}  // namespace nagaya::virtio
