// Connections of the client: opened here, used by the templates beside.
#pragma once
#include "api/asio/tls_bridge.hpp"
#include "api/client/client.hpp"

namespace nagaya::api {

/// The value of a Host field.
[[nodiscard]] std::string authority(const Remote& remote);
/// For a server that speaks TLS; null for a Unix socket.
[[nodiscard]] Result<std::unique_ptr<net::ssl::context>> client_tls(const Remote& remote);
/// Connected; TLS goes on in the background of the executor (tls_bridge.hpp).
net::awaitable<Result<LocalStream>> connect(const Remote& remote, net::ssl::context* tls);

/// The error of a connection that broke.
[[nodiscard]] std::unexpected<Error> broken(const Remote& remote, const boost::system::error_code& error);
/// The error that a problem (RFC 9457) tells of.
[[nodiscard]] std::unexpected<Error> told(unsigned status, const std::string& body);

}  // namespace nagaya::api
