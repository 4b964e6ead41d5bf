// Two links joined: what one receives the other sends, in both directions, until either has ended. It is how a container's tap hangs on
// a network whose ports are sockets.
#pragma once
#include <memory>

#include "net/link.hpp"

namespace nagaya::netd {

/// Returns when a link has ended or `stop_fd` is readable.
void splice_links(net::Link& first, net::Link& second, int stop_fd);

}  // namespace nagaya::netd
