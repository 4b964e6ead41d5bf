// Network cards: on a network of ours, on the way out of each machine's own, or on a tap device.
#include <fmt/format.h>

#include <algorithm>

#include "definition/libvirt/parts.hpp"
#include "definition/libvirt/units.hpp"
#include "net/mac.hpp"
#include "net/port_spec.hpp"

namespace nagaya::definition::libvirt {
namespace {

struct Card {
  std::string mac{};
  u64 mtu = 0, queues = 1, rate_in = 0, rate_out = 0;  ///< rates in bytes per second
  bool operator==(const Card&) const = default;
};

/// Averages are kilobytes per second.
Result<u64> read_rate(const Element& direction) {
  if (!direction) return 0;
  TRY_ASSIGN(const auto average, direction.number("average", 1, 0xffff'ffff));
  return average.value_or(0) * 1000;
}

Result<Card> read_card(const Element& interface) {
  Card out;
  if (const Element mac = interface.child("mac")) {
    const auto address = net::parse_mac(mac.attribute("address"));
    if (!address || ((*address)[0] & 1) != 0 || *address == net::Mac{}) return mac.bad_attribute("address", "it is no address of a network card");
    out.mac = net::to_string(*address);
    mac.harmless("type", {"static", "generated"});
    mac.harmless("check");
  }
  if (const Element mtu = interface.child("mtu")) {
    TRY_ASSIGN(const auto size, mtu.number("size", 576, 65520));
    out.mtu = size.value_or(0);
  }
  const Element driver = interface.child("driver");
  driver.harmless("name", {"vhost", "qemu"});
  TRY_ASSIGN(const auto queues, driver.number("queues", 1, 256));
  out.queues = queues.value_or(1);
  const Element bandwidth = interface.child("bandwidth");
  TRY_ASSIGN(out.rate_in, read_rate(bandwidth.child("inbound")));
  TRY_ASSIGN(out.rate_out, read_rate(bandwidth.child("outbound")));
  const Element model = interface.child("model");
  const std::string type = model.attribute("type");
  if (!type.empty() && !type.starts_with("virtio")) model.leave("type", "it is a virtio card");
  interface.harmless_children({"alias", "address"});
  if (const Element link = interface.child("link"); link && link.attribute("state") != "up") link.leave("its link is up");
  return out;
}

/// What stands in a list of networks.
std::string network_text(const std::string& name, const Card& card) {
  std::string out = name;
  if (!card.mac.empty()) out += ",mac=" + card.mac;
  if (card.rate_in != 0) out += fmt::format(",rate-in={}", card.rate_in);
  if (card.rate_out != 0) out += fmt::format(",rate-out={}", card.rate_out);
  if (card.mtu != 0) out += fmt::format(",mtu={}", card.mtu);
  return out;
}

Result<std::string> network_name(const Element& source, const char* attribute) {
  const std::string name = source.attribute(attribute);
  const bool good = !name.empty() && name.size() <= 64 && std::ranges::all_of(name, [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.'; }) &&
                    std::isalnum(static_cast<unsigned char>(name[0])) != 0;
  if (!good) return source.bad_attribute(attribute, "it is no name of a network here");
  return name;
}

/// Ports of the host that lead in.
Result<> read_forward(const Element& forward, Json& document) {
  const std::string protocol = forward.attribute("proto"), address = forward.attribute("address");
  for (const Element& range : forward.children("range")) {
    TRY_ASSIGN(const auto first, range.number("start", 1, 65535));
    TRY_ASSIGN(const auto last, range.number("end", 1, 65535));
    TRY_ASSIGN(const auto to, range.number("to", 1, 65535));
    if (!first) return range.bad_attribute("start", "it is missing");
    if (range.has("exclude")) {
      range.leave("");
      continue;
    }
    const u64 count = last.value_or(*first) - *first, guest = to.value_or(*first);
    std::string text = address.empty() ? "" : address + ":";
    text += count == 0 ? fmt::format("{}:{}", *first, guest) : fmt::format("{}-{}:{}-{}", *first, *last, guest, guest + count);
    if (protocol != "tcp") text += "/" + protocol;
    if (auto ok = net::parse_port_spec(text); !ok) return range.bad(ok.error().message());
    document["publish"].push_back(std::move(text));
  }
  return {};
}

Result<> read_interface(const Element& interface, Json& document) {
  const std::string type = interface.attribute("type");
  TRY_ASSIGN(const Card card, read_card(interface));
  const Element source = interface.child("source"), target = interface.child("target"), driver = interface.child("driver");
  std::string network;
  if (type == "user") {
    network = "user";
    interface.child("backend").harmless("type", {"default", "passt"});
    for (const Element& forward : interface.children("portForward")) TRY(read_forward(forward, document));
    // What it gets when none is named; libvirt may have given it an address since, which is to stay.
    if (interface.child("alias").attribute("name") == usual_network_alias && card == Card{}) return {};
  } else if (type == "network") {
    TRY_ASSIGN(network, network_name(source, "network"));
    source.harmless("portid");
    source.harmless("bridge");
  } else if (type == "bridge") {
    TRY_ASSIGN(network, network_name(source, "bridge"));
    source.leave("bridge", fmt::format("it is on the network '{}' of 'nagaya network ls'", network));
  } else if (type == "ethernet") {
    Json out = {{"tap", target.attribute("dev")}, {"queues", card.queues}};
    if (out["tap"] == "") return interface.bad("it names no tap device", "<target dev='tap0' managed='no'/>");
    if (card.queues > 8) return driver.bad_attribute("queues", "at most 8");
    target.harmless("managed");
    if (!card.mac.empty()) out["mac"] = card.mac;
    if (card.mtu != 0) out["mtu"] = card.mtu;
    if (card.rate_in != 0) out["rateIn"] = card.rate_in;
    if (card.rate_out != 0) out["rateOut"] = card.rate_out;
    document["hardware"]["nets"].push_back(std::move(out));
    return {};
  } else {
    return interface.bad_attribute("type", "a card here is on a network (network, bridge, user) or on a tap device (ethernet)");
  }
  target.harmless("dev");  // made anew at each start
  if (card.queues != 1) driver.leave("queues", "one, but for tap devices");
  document["networks"].push_back(network_text(network, card));
  return {};
}

}  // namespace

Result<> read_interfaces(const Element& devices, Json& document) {
  const auto all = devices.children("interface");
  bool usual = false;
  for (const Element& interface : all) {
    TRY(read_interface(interface, document));
    usual = usual || (interface.attribute("type") == "user" && interface.child("alias").attribute("name") == usual_network_alias);
  }
  if (!usual && !document.contains("networks")) document["networks"] = {"none"};
  return {};
}

}  // namespace nagaya::definition::libvirt
