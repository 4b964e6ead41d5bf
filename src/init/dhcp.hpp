// An address for the guest's first network card (RFC 2131, RFC 2132), asked for once at the start.
#pragma once
#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::init {

struct Lease {
  u32 address = 0, mask = 0, router = 0, server = 0;  ///< in host order; 0: none
  std::vector<u32> dns{};
  std::string domain{};
};

enum class DhcpKind : u8 { discover = 1, offer = 2, request = 3, ack = 5, nak = 6 };

/// A message to the server: discover, or the request for what `offer` offers.
[[nodiscard]] std::vector<u8> dhcp_message(DhcpKind kind, u32 transaction, const std::array<u8, 6>& mac, const Lease& offer, const std::string& hostname);
/// What a server answered to that transaction; nothing when it is not for us or makes no sense.
[[nodiscard]] std::optional<std::pair<DhcpKind, Lease>> parse_dhcp(std::span<const u8> message, u32 transaction, const std::array<u8, 6>& mac);

/// Brings up the loopback, and the first other card with an address by DHCP. Writes the resolver's file. No card is no error.
[[nodiscard]] Result<> set_up_network(const std::string& hostname);

}  // namespace nagaya::init
