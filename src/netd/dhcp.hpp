// Answers DHCP (RFC 2131, 2132) with the one address that belongs to a port, so that no guest can use up addresses and each
// keeps its own. No state beside the port's.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "net/ip.hpp"
#include "net/mac.hpp"

namespace nagaya::netd {

struct DhcpOffer {
  net::Ip4 address{};
  net::Net4 subnet{};
  net::Ip4 server{};  ///< the gateway
  net::Mac server_mac{};
  bool router = true;              ///< tell the gateway as the way out
  std::optional<net::Ip4> dns{};
  unsigned mtu = 0;                ///< 0: not told
  std::string name{};              ///< host name; may be empty
};

/// Whether a frame is a DHCP request; others are none of this file's business.
[[nodiscard]] bool is_dhcp_request(std::span<const u8> frame);

/// The frame that answers it, or nothing.
[[nodiscard]] std::optional<std::vector<u8>> answer_dhcp(std::span<const u8> frame, const DhcpOffer& offer);

}  // namespace nagaya::netd
