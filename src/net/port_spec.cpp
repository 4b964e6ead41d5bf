#include "net/port_spec.hpp"

#include <fmt/format.h>

#include <charconv>
#include <utility>

namespace nagaya::net {
namespace {

/// "80" or "80-90".
Result<std::pair<u16, u16>> parse_range(std::string_view text) {
  const auto number = [](std::string_view digits, u16& out) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
    return error == std::errc{} && end == digits.data() + digits.size() && out != 0;
  };
  const std::size_t dash = text.find('-');
  std::pair<u16, u16> out;
  if (!number(text.substr(0, dash), out.first)) return fail(fmt::format("'{}' is no port", text), "it must be from 1 to 65535");
  out.second = out.first;
  if (dash != std::string_view::npos && (!number(text.substr(dash + 1), out.second) || out.second < out.first)) {
    return fail(fmt::format("'{}' is no range of ports", text));
  }
  return out;
}

}  // namespace

std::string PortSpec::text() const { return fmt::format("{}:{}:{}/{}", address.text(), host, guest, udp ? "udp" : "tcp"); }

Result<std::vector<PortSpec>> parse_port_spec(std::string_view text) {
  const auto bad = [&](std::string why) {
    return fail(fmt::format("cannot publish '{}'", text), std::move(why), "write [ip:]host:guest[/tcp|udp], for instance 8080:80");
  };
  PortSpec spec;
  std::string_view rest = text;
  if (const std::size_t slash = rest.find('/'); slash != std::string_view::npos) {
    const std::string_view kind = rest.substr(slash + 1);
    if (kind != "tcp" && kind != "udp") return bad(fmt::format("'{}' is neither tcp nor udp", kind));
    spec.udp = kind == "udp";
    rest = rest.substr(0, slash);
  }
  const std::size_t last = rest.rfind(':');
  if (last == std::string_view::npos) return bad("the guest's port is missing");
  const std::string_view guest = rest.substr(last + 1);
  rest = rest.substr(0, last);
  if (const std::size_t colon = rest.rfind(':'); colon != std::string_view::npos) {
    auto address = Ip4::parse(rest.substr(0, colon));
    if (!address) return bad(address.error().what);
    spec.address = *address;
    rest = rest.substr(colon + 1);
  }
  const auto hosts = parse_range(rest), guests = parse_range(guest);
  if (!hosts) return bad(hosts.error().message());
  if (!guests) return bad(guests.error().message());
  const unsigned count = hosts->second - hosts->first + 1u;
  if (count != guests->second - guests->first + 1u) return bad("the two ranges differ in length");
  if (count > most_ports) return bad(fmt::format("a machine may publish {} ports", most_ports));
  std::vector<PortSpec> out;
  for (unsigned i = 0; i < count; ++i) {
    spec.host = static_cast<u16>(hosts->first + i);
    spec.guest = static_cast<u16>(guests->first + i);
    out.push_back(spec);
  }
  return out;
}

}  // namespace nagaya::net
