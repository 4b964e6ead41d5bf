// A terminal, or the streams of a program, over a WebSocket.
#pragma once
#include "api/asio/tls_bridge.hpp"
#include "api/http/context.hpp"

namespace nagaya::api {

/// What a text message of a client says.
struct TerminalMessage {
  u16 columns = 0, rows = 0;
};
/// Status 400: it is no message of ours.
[[nodiscard]] Answer<TerminalMessage> parse_terminal_message(std::string_view text);

/// Answers the request and carries bytes both ways until either side ends. Neither side is read faster than the other takes.
net::awaitable<void> serve_terminal(Context& context, LocalStream stream, const http::request<http::empty_body>& request, std::string protocol,
                                    Terminal terminal, Caller caller);

}  // namespace nagaya::api
