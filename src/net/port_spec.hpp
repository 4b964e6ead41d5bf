// A published port: what arrives at the host's goes to a guest's.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "net/ip.hpp"

namespace nagaya::net {

struct PortSpec {
  Ip4 address{};  ///< of the host; 0.0.0.0: all
  u16 host = 0, guest = 0;
  bool udp = false;
  bool operator==(const PortSpec&) const = default;
  /// "127.0.0.1:8080:80/tcp", complete.
  [[nodiscard]] std::string text() const;
};

inline constexpr std::size_t most_ports = 256;

/// "[ip:]host:guest[/tcp|udp]"; host and guest may be ranges of the same length ("8000-8010:80-90"), which gives several.
[[nodiscard]] Result<std::vector<PortSpec>> parse_port_spec(std::string_view text);

}  // namespace nagaya::net
