// A link over a packet socket (packet(7)) that is bound to one card.
#pragma once
#include <memory>

#include "net/link.hpp"

namespace nagaya::net {

[[nodiscard]] std::unique_ptr<Link> adopt_packet_socket(host::Fd fd);

}  // namespace nagaya::net
