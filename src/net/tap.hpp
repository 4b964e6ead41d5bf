// Tap devices as links. Source: Linux Documentation/networking/tuntap.rst and include/uapi/linux/if_tun.h.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "net/link.hpp"

namespace nagaya::net {

/// Opens `queues` queues of the tap device `name`: an existing one, or a new one that lives as long as its links.
Result<std::vector<std::unique_ptr<Link>>> open_tap(const std::string& name, unsigned queues);
/// A tap's descriptor that someone else opened, with IFF_VNET_HDR.
Result<std::unique_ptr<Link>> adopt_tap(host::Fd fd);

}  // namespace nagaya::net
