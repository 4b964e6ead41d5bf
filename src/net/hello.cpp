#include "net/hello.hpp"

#include "net/mac.hpp"
#include "proto/json_fields.hpp"

namespace nagaya::net {

std::string Hello::to_json() const {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  if (!mac.empty()) out["mac"] = mac;
  if (!name.empty()) out["name"] = name;
  auto& ports = out["publish"] = nlohmann::ordered_json::array();
  for (const PortSpec& spec : publish) ports.push_back(spec.text());
  return proto::print(out);
}

Result<Hello> Hello::from_json(std::string_view text) {
  if (text.size() > longest_hello) return fail("greeting", "too long");
  TRY_ASSIGN(const auto object, proto::parse_object(text, "greeting"));
  proto::Fields fields(object, "greeting");
  Hello out;
  fields.text("mac", out.mac);
  fields.text("name", out.name);
  std::vector<std::string> ports;
  fields.texts("publish", ports);
  TRY(fields.finish());
  if (!out.mac.empty() && !parse_mac(out.mac)) return fail("greeting", fmt::format("'{}' is no MAC address", out.mac));
  // It goes into a DHCP option and must be worth a host name there.
  if (out.name.size() > 63) return fail("greeting", "the name is longer than 63 bytes");
  for (const char c : out.name) {
    const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
    if (!fine) return fail("greeting", "the name has a character that no host name has");
  }
  for (const std::string& port : ports) {
    TRY_ASSIGN(const auto specs, parse_port_spec(port));
    out.publish.insert(out.publish.end(), specs.begin(), specs.end());
    if (out.publish.size() > most_ports) return fail("greeting", fmt::format("a machine may publish {} ports", most_ports));
  }
  return out;
}

std::string Welcome::to_json() const {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  if (!error.empty()) out["error"] = error;
  if (!address.empty()) out["address"] = address;
  if (!gateway.empty()) out["gateway"] = gateway;
  if (mtu != 0) out["mtu"] = mtu;
  return proto::print(out);
}

Result<Welcome> Welcome::from_json(std::string_view text) {
  TRY_ASSIGN(const auto object, proto::parse_object(text, "the network's answer"));
  proto::Fields fields(object, "the network's answer");
  Welcome out;
  fields.text("error", out.error);
  fields.text("address", out.address);
  fields.text("gateway", out.gateway);
  fields.number("mtu", out.mtu);
  TRY(fields.finish());
  return out;
}

}  // namespace nagaya::net
