// TLS at the edge: a connection that speaks TLS becomes a plain local one, so that what speaks HTTP and WebSocket is compiled for
// one kind of stream, and knows no keys.
#pragma once
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/ssl.hpp>

#include "api/asio/asio.hpp"

namespace nagaya::api {

using LocalSocket = net::local::stream_protocol::socket;
using LocalStream = beast::basic_stream<net::local::stream_protocol, net::any_io_executor>;
using TlsStream = beast::ssl_stream<beast::tcp_stream>;

/// Both ends of a local connection.
[[nodiscard]] std::pair<LocalSocket, LocalSocket> local_pair(const net::any_io_executor& executor, ErrorCode& error);

/// Carries bytes both ways, neither faster than they are taken, until both directions have ended or the connection breaks. The end of
/// one direction is passed on.
net::awaitable<void> bridge(std::unique_ptr<TlsStream> tls, LocalSocket plain);

}  // namespace nagaya::api
