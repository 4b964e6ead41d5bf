#include "netd/gateway.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <slirp/libslirp.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "base/log.hpp"
#include "netd/inet.hpp"
#include "netd/offload.hpp"

namespace nagaya::netd {
namespace {

i64 now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

in_addr raw(net::Ip4 a) { return {htonl(a.value)}; }

}  // namespace

struct Gateway::Callbacks {
  static Gateway& self(void* opaque) { return *static_cast<Gateway*>(opaque); }

  static ssize_t send_packet(const void* data, size_t size, void* opaque) {
    Gateway& gateway = self(opaque);
    if (size < net::ethernet_size || size > net::largest_frame) return static_cast<ssize_t>(size);
    // libslirp's buffer is not ours to change, but nothing changes a frame that has nothing left to do.
    auto* bytes = static_cast<u8*>(const_cast<void*>(data));
    // Its checksums are right: guests need not look again.
    gateway.switch_.input(gateway.port_, net::Header{.flags = net::flag::data_valid}, {bytes, size});
    return static_cast<ssize_t>(size);
  }
  static void guest_error(const char* text, void*) {
    static log::RateLimit limit(8);
    if (limit.pass()) log::info("user-mode network: {}", text);
  }
  static int64_t clock(void*) { return now_ns(); }
  static void* timer_new(SlirpTimerId id, void* cb_opaque, void* opaque) {
    return self(opaque).timers_.emplace_back(std::make_unique<Timer>(Timer{id, cb_opaque})).get();
  }
  static void timer_free(void* timer, void* opaque) {
    std::erase_if(self(opaque).timers_, [&](const auto& t) { return t.get() == timer; });
  }
  static void timer_mod(void* timer, int64_t at_ms, void*) { static_cast<Timer*>(timer)->at_ms = at_ms; }
  static void ignore_fd(int, void*) {}
  static void notify(void*) {}
  static void ready(Slirp*, void*) {}

  static constexpr SlirpCb table = {
      .send_packet = send_packet, .guest_error = guest_error, .clock_get_ns = clock, .timer_new = nullptr, .timer_free = timer_free,
      .timer_mod = timer_mod, .register_poll_fd = ignore_fd, .unregister_poll_fd = ignore_fd, .notify = notify,
      .init_completed = ready, .timer_new_opaque = timer_new};
};

Result<std::unique_ptr<Gateway>> Gateway::create(const GatewayConfig& config, Switch& lan) {
  auto out = std::unique_ptr<Gateway>(new Gateway(config, lan));
  const auto port = lan.attach(*out);
  if (!port) return fail("the switch has no free port");
  out->port_ = *port;
  SlirpConfig c{};
  c.version = 4;
  c.restricted = config.restricted;
  c.in_enabled = true;
  c.vnetwork = raw(config.subnet.base);
  c.vnetmask = {htonl(config.subnet.mask())};
  c.vhost = raw(config.address());
  c.vdhcp_start = raw(config.guest(0));
  c.vnameserver = raw(config.dns());
  c.in6_enabled = config.ip6;
  // A unique local prefix (RFC 4193), so that guests prefer IPv4 for what has both.
  ::inet_pton(AF_INET6, "fd00::", &c.vprefix_addr6);
  c.vprefix_len = 64;
  ::inet_pton(AF_INET6, "fd00::2", &c.vhost6);
  ::inet_pton(AF_INET6, "fd00::3", &c.vnameserver6);
  c.if_mtu = c.if_mru = config.mtu;
  c.disable_host_loopback = !config.host_loopback;
  c.disable_dhcp = true;  // dhcp.hpp answers
  out->slirp_ = ::slirp_new(&c, &Callbacks::table, out.get());
  if (out->slirp_ == nullptr) return fail("cannot start the user-mode network", "libslirp refuses its configuration");
  // libslirp's own address on the wire is made of its IPv4 address.
  const u32 a = config.address().value;
  out->mac_ = {0x52, 0x55, static_cast<u8>(a >> 24), static_cast<u8>(a >> 16), static_cast<u8>(a >> 8), static_cast<u8>(a)};
  (void)lan.pin(*port, out->mac_);
  return out;
}

Gateway::~Gateway() {
  switch_.detach(port_);
  if (slirp_ != nullptr) ::slirp_cleanup(slirp_);
}

void Gateway::lease(unsigned port, net::Ip4 address, std::string name) {
  release(port);
  DhcpOffer offer{.address = address, .subnet = config_.subnet, .server = config_.address(), .server_mac = mac_, .router = !config_.restricted,
                  .mtu = config_.mtu, .name = std::move(name)};
  if (!config_.restricted) offer.dns = config_.dns();
  leases_.emplace_back(port, std::move(offer));
}

void Gateway::release(unsigned port) {
  std::erase_if(leases_, [&](const auto& l) { return l.first == port; });
}

bool Gateway::impersonates(unsigned port, std::span<const u8> frame) const {
  constexpr std::size_t ip_source = 14 + 12, arp_sender = 14 + 14;  // RFC 791, 826
  if (frame.size() < net::ethernet_size) return false;
  const u16 type = get16(frame.data() + 12);
  const std::size_t at = type == ethertype_ip4 ? ip_source : type == ethertype_arp ? arp_sender : 0;
  if (at == 0 || frame.size() < at + 4) return false;
  const net::Ip4 source{get32(frame.data() + at)};
  if (source == config_.address() || source == config_.dns()) return true;
  return std::ranges::any_of(leases_, [&](const auto& l) { return l.second.address == source && l.first != port; });
}

Result<> Gateway::publish(const net::PortSpec& spec, net::Ip4 guest) {
  if (::slirp_add_hostfwd(slirp_, spec.udp, raw(spec.address), spec.host, raw(guest), spec.guest) == 0) return {};
  return fail_errno(fmt::format("cannot publish port {}", spec.text()), errno,
                    errno == EACCES ? "ports below 1024 need root: take a higher one" : errno == EADDRINUSE ? "take another port of the host" : "");
}

void Gateway::withdraw(const net::PortSpec& spec) { ::slirp_remove_hostfwd(slirp_, spec.udp, raw(spec.address), spec.host); }

void Gateway::deliver(unsigned from, const net::Header& header, std::span<u8> frame) {
  if (is_dhcp_request(frame)) {
    const auto lease = std::ranges::find(leases_, from, &std::pair<unsigned, DhcpOffer>::first);
    if (lease == leases_.end()) return;
    // To the asker's port alone, through the switch: what it says as a sender was just learned.
    if (auto answer = answer_dhcp(frame, lease->second)) switch_.reply(port_, from, net::Header{}, *answer);
    return;
  }
  // TCP goes in as one piece however large, as long as libslirp takes packets of that size; checksums must be there.
  const u8 gso = header.gso_type & static_cast<u8>(~net::gso::ecn);
  net::Header rest = header;
  if (gso == net::gso::tcp4 || (gso == net::gso::tcp6 && frame.size() <= config_.mtu + net::ethernet_size)) rest.gso_type = net::gso::none;
  fit(rest, frame, 0, [this](const net::Header&, std::span<const iovec> parts) {
    std::span<const u8> whole(static_cast<const u8*>(parts[0].iov_base), parts[0].iov_len);
    if (parts.size() > 1) {
      piece_.clear();
      for (const iovec& part : parts) piece_.insert(piece_.end(), static_cast<const u8*>(part.iov_base), static_cast<const u8*>(part.iov_base) + part.iov_len);
      whole = piece_;
    }
    ::slirp_input(slirp_, whole.data(), static_cast<int>(whole.size()));
  });
}

void Gateway::prepare(std::vector<pollfd>& watched, int& timeout_ms, bool hold) {
  u32 wait = timeout_ms < 0 ? UINT32_MAX : static_cast<u32>(timeout_ms);
  ::slirp_pollfds_fill(
      slirp_, &wait,
      [](int fd, int events, void* opaque) {
        auto& list = *static_cast<std::vector<pollfd>*>(opaque);
        short wanted = 0;
        if (events & SLIRP_POLL_IN) wanted |= POLLIN;
        if (events & SLIRP_POLL_OUT) wanted |= POLLOUT;
        if (events & SLIRP_POLL_PRI) wanted |= POLLPRI;
        list.push_back({fd, wanted, 0});
        return static_cast<int>(list.size()) - 1;
      },
      &watched);
  if (hold) {
    for (pollfd& entry : watched) entry.fd = -1;  // poll(2) passes over negative ones
  }
  const i64 now = now_ns() / 1'000'000;
  for (const auto& timer : timers_) {
    if (timer->at_ms >= 0) wait = std::min(wait, static_cast<u32>(std::clamp<i64>(timer->at_ms - now, 0, 3'600'000)));
  }
  if (wait != UINT32_MAX) timeout_ms = static_cast<int>(std::min<u32>(wait, 3'600'000));
}

void Gateway::dispatch(const std::vector<pollfd>& watched, bool failed) {
  ::slirp_pollfds_poll(
      slirp_, failed,
      [](int index, void* opaque) {
        const auto& list = *static_cast<const std::vector<pollfd>*>(opaque);
        if (index < 0 || static_cast<std::size_t>(index) >= list.size()) return 0;
        const short seen = list[static_cast<std::size_t>(index)].revents;
        int out = 0;
        if (seen & POLLIN) out |= SLIRP_POLL_IN;
        if (seen & POLLOUT) out |= SLIRP_POLL_OUT;
        if (seen & POLLPRI) out |= SLIRP_POLL_PRI;
        if (seen & POLLERR) out |= SLIRP_POLL_ERR;
        if (seen & POLLHUP) out |= SLIRP_POLL_HUP;
        return out;
      },
      const_cast<std::vector<pollfd>*>(&watched));
  const i64 now = now_ns() / 1'000'000;
  for (std::size_t i = 0; i < timers_.size(); ++i) {
    Timer& timer = *timers_[i];
    if (timer.at_ms < 0 || timer.at_ms > now) continue;
    timer.at_ms = -1;
    ::slirp_handle_timer(slirp_, static_cast<SlirpTimerId>(timer.id), timer.opaque);
  }
}

}  // namespace nagaya::netd
