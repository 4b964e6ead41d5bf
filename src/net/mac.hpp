// Ethernet addresses.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "base/types.hpp"

namespace nagaya::net {

using Mac = std::array<u8, 6>;

/// "52:54:00:12:34:56"
[[nodiscard]] std::optional<Mac> parse_mac(std::string_view text);
[[nodiscard]] std::string to_string(const Mac& mac);
/// Locally administered, always the same for the same name and card.
[[nodiscard]] Mac mac_of_name(std::string_view machine, unsigned card);

}  // namespace nagaya::net
