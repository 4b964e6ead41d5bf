// A new connection, until it ends.
#pragma once
#include "api/asio/tls_bridge.hpp"
#include "api/http/context.hpp"

namespace nagaya::api {

/// Who is at the other end of a Unix socket. Source: Linux man-pages 6, unix(7), SO_PEERCRED, SO_PEERGROUPS.
[[nodiscard]] Peer local_peer(int socket, int operators_group);

void serve(Context& context, LocalSocket socket, Peer peer);
/// The same for one that speaks TLS.
void serve_tls(Context& context, net::ip::tcp::socket socket, std::shared_ptr<net::ssl::context> tls, std::string address);

}  // namespace nagaya::api
