#include "virtio/net/net.hpp"

#include <algorithm>
#include <array>

#include "bus/bytes.hpp"
#include "virtio/net/layout.hpp"
#include "virtio/net/pair.hpp"

namespace nagaya::virtio {

using namespace net_layout;
namespace offload = net::offload;

namespace {

constexpr u32 speed_mbit = 10'000;
constexpr u8 full_duplex = 1;
constexpr u16 control_queue_size = 64;

std::vector<u16> queue_sizes(std::size_t pairs, u16 size) {
  std::vector<u16> out(2 * pairs, size);
  out.push_back(control_queue_size);
  return out;
}

}  // namespace

Net::Net(std::string name, memory::GuestMemory& memory, std::size_t pairs, NetConfig config)
    : VirtioDevice(std::move(name), type::net, memory, queue_sizes(pairs, config.queue_size)),
      config_(config),
      rate_in_(config.rate_in),
      rate_out_(config.rate_out),
      control_("virtio-net-ctl", [this](unsigned) { serve_control(); }, 1) {
  filter_.mac = config_.mac;
}

Result<std::unique_ptr<Net>> Net::create(std::string name, memory::GuestMemory& memory,
                                         std::vector<std::unique_ptr<net::Link>> links, NetConfig config) {
  std::unique_ptr<Net> out(new Net(std::move(name), memory, links.size(), config));
  for (unsigned i = 0; i < links.size(); ++i) {
    TRY_ASSIGN(host::Fd wake, host::Fd::eventfd());
    if (i > 0) TRY(links[i]->attach(false));
    out->pairs_.push_back(std::make_unique<NetPair>(*out, i, std::move(links[i]), std::move(wake)));
  }
  return out;
}

Net::~Net() { stop(); }

// ---- Configuration ----

u64 Net::device_features() const {
  u64 features = f_csum | f_guest_csum | f_ctrl_guest_offloads | f_mac | f_guest_tso4 | f_guest_tso6 | f_guest_ecn | f_host_tso4 |
                 f_host_tso6 | f_host_ecn | f_mrg_rxbuf | f_status | f_ctrl_vq | f_ctrl_rx | f_ctrl_vlan | f_ctrl_rx_extra |
                 f_guest_announce | f_ctrl_mac_addr | f_guest_uso4 | f_guest_uso6 | f_host_uso | f_speed_duplex;
  if (config_.mtu != 0) features |= f_mtu;
  if (pairs_.size() > 1) features |= f_mq;
  return features;
}

void Net::read_config(u64 offset, std::span<u8> data) {
  std::array<u8, config_size> image{};
  auto put = [&](u64 at, unsigned size, u64 value) { bus::store_le(std::span(image).subspan(at, size), value); };
  {
    std::lock_guard lock(filter_mutex_);
    std::ranges::copy(filter_.mac, image.begin() + at_mac);
  }
  put(at_status, 2, (link_up() ? status_link_up : 0u) | (announce_ ? status_announce : 0u));
  put(at_pairs, 2, pairs_.size());
  put(at_mtu, 2, config_.mtu);
  put(at_speed, 4, speed_mbit);
  put(at_duplex, 1, full_duplex);
  for (std::size_t i = 0; i < data.size() && offset < config_size && offset + i < config_size; ++i) data[i] = image[offset + i];
}

u32 Net::send_offloads() const {
  u32 bits = 0;
  if (negotiated(f_csum)) bits |= offload::csum;
  if (negotiated(f_host_tso4)) bits |= offload::tso4;
  if (negotiated(f_host_tso6)) bits |= offload::tso6;
  if (negotiated(f_host_ecn)) bits |= offload::tso_ecn;
  if (negotiated(f_host_uso)) bits |= offload::uso4 | offload::uso6;
  return bits;
}

void Net::update_offloads() {
  const auto on = [&](u64 feature) { return negotiated(feature) && !(offloads_off_ & feature); };
  u32 bits = 0;
  // Nothing is cut without a checksum to complete (5.1.3.1).
  if (on(f_guest_csum)) {
    bits |= offload::csum;
    if (on(f_guest_tso4)) bits |= offload::tso4;
    if (on(f_guest_tso6)) bits |= offload::tso6;
    if (on(f_guest_ecn) && bits & (offload::tso4 | offload::tso6)) bits |= offload::tso_ecn;
    // Links know both or neither.
    if (on(f_guest_uso4) && on(f_guest_uso6)) bits |= offload::uso4 | offload::uso6;
  }
  receive_offloads_ = bits;
}

// ---- Life ----

void Net::start() {
  update_offloads();
  if (!negotiated(f_mq)) active_ = 1;
  for (unsigned i = 0; i < active_; ++i) {
    if (i > 0) (void)pairs_[i]->link().attach(true);
    pairs_[i]->go();
  }
  control_.go();
  if (std::exchange(announce_due_, false) && negotiated(f_guest_announce)) {
    announce_ = true;
    config_changed();
  }
}

void Net::stop() {
  control_.halt();
  for (auto& pair : pairs_) pair->halt();
}

void Net::kicked(unsigned queue) {
  if (queue == control_queue()) {
    control_.kick(0);
  } else if (queue / 2 < pairs_.size()) {
    pairs_[queue / 2]->kick();
  }
}

int Net::kick_event(unsigned queue) const {
  const unsigned last = static_cast<unsigned>(2 * pairs_.size());
  if (queue == last) return control_.event();
  // The third queue is another one to a driver that uses one pair of several.
  if (queue > last || queue == 2) return -1;
  return pairs_[queue / 2]->wake_fd();
}

/// Behind the pairs that the driver knows of (5.1.2).
unsigned Net::control_queue() const { return negotiated(f_mq) ? static_cast<unsigned>(2 * pairs_.size()) : 2; }

void Net::reset_state() {
  offloads_off_ = 0;
  receive_offloads_ = 0;
  announce_ = announce_due_ = false;
  for (unsigned i = 1; i < active_; ++i) (void)pairs_[i]->link().attach(false);
  active_ = 1;
  std::lock_guard lock(filter_mutex_);
  filter_ = {.mac = config_.mac};
  filter_changed();
}

void Net::save_state(state::Writer& out) const {
  out.put(offloads_off_);
  out.put(static_cast<u8>(active_));
  out.put(announce_.load());
  std::lock_guard lock(filter_mutex_);
  filter_.save(out);
}

void Net::restore_state(state::Reader& in) {
  offloads_off_ = in.get<u64>() & guest_offloads;
  const unsigned active = in.get<u8>();
  if (active < 1 || active > pairs_.size()) {
    in.reject("more queue pairs than the card has");
    return;
  }
  active_ = active;
  announce_ = in.get<bool>();
  // The switch behind the new link does not know the guest.
  announce_due_ = true;
  std::lock_guard lock(filter_mutex_);
  filter_.restore(in);
  filter_changed();
}

// ---- For the pairs ----

void Net::refresh_filter(NetFilter& filter, u32& version) const {
  const u32 now = filter_version_.load(std::memory_order_acquire);
  if (now == version) return;
  std::lock_guard lock(filter_mutex_);
  filter = filter_;
  version = now;
}

void Net::link_lost() {
  if (!lost_.exchange(true)) config_changed();
}

void Net::set_link(bool up) {
  if (plugged_.exchange(up) == up) return;
  config_changed();
  for (auto& pair : pairs_) pair->kick();
}

Net::Counters Net::counters() const {
  Counters out;
  for (const auto& pair : pairs_) {
    out.to_guest += pair->receiver().packets();
    out.to_guest_dropped += pair->receiver().dropped();
    out.from_guest += pair->sender().packets();
    out.from_guest_dropped += pair->sender().dropped();
  }
  return out;
}

}  // namespace nagaya::virtio
