// Between Beast's messages and ours.
#pragma once
#include <string>

#include "api/asio/asio.hpp"
#include "api/message.hpp"
#include "api/text.hpp"

namespace nagaya::api {

[[nodiscard]] Head head_of(const http::request_header<>& request, std::optional<u64> length, bool chunked);
/// Everything but the body and how long it is.
void fill_head(http::response_header<>& message, const Reply& reply, bool keep_alive, bool local);
/// One server-sent event (WHATWG HTML, "Server-sent events").
[[nodiscard]] std::string event_text(const Json& event);
/// The subprotocol of a terminal that a client offers: "nagaya.terminal", "nagaya.streams", or nothing.
[[nodiscard]] std::string terminal_protocol(const Head& head);

}  // namespace nagaya::api
