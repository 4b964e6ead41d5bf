// Network cards.
#include <fmt/format.h>

#include "definition/libvirt/parts.hpp"
#include "definition/libvirt/units.hpp"
#include "definition/libvirt/write_parts.hpp"
#include "net/port_spec.hpp"
#include "proto/sizes.hpp"

namespace nagaya::definition::libvirt {
namespace {

constexpr u64 kilobyte = 1000;

pugi::xml_node begin_card(Writing& out, const char* type) {
  pugi::xml_node card = out.devices.append_child("interface");
  set(card, "type", type);
  return card;
}

/// libvirt counts in kilobytes.
void put_rate(Writing& out, pugi::xml_node card, const char* direction, u64 rate, const std::string& where) {
  if (rate == 0) return;
  if (rate < kilobyte) {
    out.left_out.push_back(fmt::format("{} (less than a kilobyte per second)", where));
    return;
  }
  if (rate % kilobyte != 0) out.left_out.push_back(fmt::format("{} (rounded down to {} kilobytes per second)", where, rate / kilobyte));
  pugi::xml_node bandwidth = card.child("bandwidth");
  if (!bandwidth) bandwidth = card.append_child("bandwidth");
  put(bandwidth, direction, "average", std::to_string(rate / kilobyte));
}

/// "NAME,mac=…,rate-in=…,rate-out=…,mtu=…"
pugi::xml_node write_network(Writing& out, const std::string& text, std::size_t index) {
  const std::string where = fmt::format("networks[{}]", index);
  const std::size_t comma = text.find(',');
  const std::string name = text.substr(0, comma);
  pugi::xml_node card = begin_card(out, name == "user" ? "user" : "network");
  std::string mac, mtu;
  for (std::size_t at = comma; at != std::string::npos;) {
    const std::size_t end = text.find(',', at + 1);
    const std::string part = text.substr(at + 1, end == std::string::npos ? end : end - at - 1);
    at = end;
    const std::size_t equals = part.find('=');
    const std::string key = part.substr(0, equals), value = equals == std::string::npos ? "" : part.substr(equals + 1);
    if (key == "mac") {
      mac = value;
    } else if (key == "mtu") {
      mtu = value;
    } else if (const auto rate = proto::parse_size(value); rate && (key == "rate-in" || key == "rate-out")) {
      put_rate(out, card, key == "rate-in" ? "inbound" : "outbound", *rate, fmt::format("{}.{}", where, key));
    } else {
      out.left_out.push_back(fmt::format("{}.{}", where, key));
    }
  }
  if (!mac.empty()) put(card, "mac", "address", mac);
  if (name != "user") put(card, "source", "network", name);
  if (!mtu.empty()) put(card, "mtu", "size", mtu);
  put(card, "model", "type", "virtio");
  return card;
}

void write_tap(Writing& out, Rest net, std::size_t index) {
  const std::string prefix = item_prefix("nets", index);
  const Json tap = net.take("tap");
  if (!tap.is_string() || tap == "") {
    out.left_out.push_back(fmt::format("hardware.nets[{}] (only a card on a tap device has a place)", index));
    return;
  }
  pugi::xml_node card = begin_card(out, "ethernet");
  if (const Json mac = net.take("mac"); mac.is_string() && mac != "") put(card, "mac", "address", mac);
  pugi::xml_node target = put(card, "target", "dev", tap);
  set(target, "managed", "no");
  if (const Json mtu = net.take("mtu"); mtu.is_number() && mtu != 0) put(card, "mtu", "size", mtu.dump());
  put(card, "model", "type", "virtio");
  if (const Json queues = net.take("queues"); queues.is_number() && queues != 1) {
    pugi::xml_node driver = put(card, "driver", "name", "vhost");
    set(driver, "queues", queues.dump());
  }
  for (const auto& [field, direction] : {std::pair{"rateIn", "inbound"}, {"rateOut", "outbound"}}) {
    if (const Json rate = net.take(field); rate.is_number()) put_rate(out, card, direction, rate, prefix + field);
  }
  net.finish(out.left_out, prefix);
}

/// Ports lead in through libvirt's user network (passt). `card`: of the type user, or none.
void write_ports_in(Writing& out, pugi::xml_node card, const Json& publish) {
  for (std::size_t i = 0; i < publish.size(); ++i) {
    const std::string text = publish[i], where = fmt::format("publish[{}]", i);
    const auto specs = net::parse_port_spec(text);
    if (!card || !specs) {
      out.left_out.push_back(where + (specs ? " (none of its cards is on the user network)" : ""));
      continue;
    }
    if (!card.child("backend")) put(card, "backend", "type", "passt");
    const net::PortSpec &first = specs->front(), &last = specs->back();
    pugi::xml_node forward = card.append_child("portForward");
    set(forward, "proto", first.udp ? "udp" : "tcp");
    if (first.address != net::Ip4{}) set(forward, "address", first.address.text());
    pugi::xml_node range = put(forward, "range", "start", std::to_string(first.host));
    if (last.host != first.host) set(range, "end", std::to_string(last.host));
    if (first.guest != first.host) set(range, "to", std::to_string(first.guest));
  }
}

}  // namespace

void write_interfaces(Writing& out, Rest& document, Rest& hardware) {
  const Json networks = document.take("networks");
  pugi::xml_node way_in;
  if (networks.empty()) {
    way_in = write_network(out, "user", 0);
    put(way_in, "alias", "name", usual_network_alias);
  }
  for (std::size_t i = 0; i < networks.size(); ++i) {
    if (networks[i] == "none") continue;
    const pugi::xml_node card = write_network(out, networks[i], i);
    if (!way_in && std::string_view(card.attribute("type").value()) == "user") way_in = card;
  }
  write_ports_in(out, way_in, document.take("publish"));
  const Json nets = hardware.take("nets");
  for (std::size_t i = 0; i < nets.size(); ++i) write_tap(out, Rest(nets[i]), i);
}

}  // namespace nagaya::definition::libvirt
