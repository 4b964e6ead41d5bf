// The first messages on a socket to a network's process: who joins says what it is and what it wants published, as one
// JSON message that begins with '{'; the answer is another. Afterwards the socket carries packets (wire.hpp). A socket whose
// first message is none of these is a plain port of the switch.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "net/port_spec.hpp"

namespace nagaya::net {

inline constexpr std::size_t longest_hello = 32 * KiB;

struct Hello {
  std::string mac{};   ///< of the machine's card; no other port can then take it
  std::string name{};  ///< host name for DHCP; may be empty
  std::vector<PortSpec> publish{};
  bool operator==(const Hello&) const = default;
  [[nodiscard]] std::string to_json() const;
  static Result<Hello> from_json(std::string_view text);
};

struct Welcome {
  std::string error{};    ///< empty: joined
  std::string address{};  ///< "10.0.2.15/24" when the network gives addresses
  std::string gateway{};
  unsigned mtu = 0;
  bool operator==(const Welcome&) const = default;
  [[nodiscard]] std::string to_json() const;
  static Result<Welcome> from_json(std::string_view text);
};

}  // namespace nagaya::net
