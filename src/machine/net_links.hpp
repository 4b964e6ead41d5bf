// The host ends of a machine's network cards.
#pragma once
#include <memory>
#include <vector>

#include "base/result.hpp"
#include "net/link.hpp"
#include "proto/vm_config.hpp"

namespace nagaya::machine {

/// For each card of the configuration its links, one for each pair of queues.
using NetLinks = std::vector<std::vector<std::unique_ptr<net::Link>>>;

/// Opens them as the configuration says: taps of this process's network, sockets, descriptors.
Result<NetLinks> open_net_links(const proto::VmConfig& config);

}  // namespace nagaya::machine
