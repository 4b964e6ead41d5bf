#include "api/http/answer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/websocket/rfc6455.hpp>
#include <ctime>

namespace nagaya::api {
namespace {

std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[64];
  return {text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts)};
}

// xterm.js puts its colours and sizes into style elements of its own; scripts come from our files alone.
constexpr const char* content_policy =
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

}  // namespace

Head head_of(const http::request_header<>& request, std::optional<u64> length, bool chunked) {
  Head out{.method = std::string(request.method_string()), .target = std::string(request.target()), .length = length, .chunked = chunked};
  for (const auto& field : request) {
    std::string name(field.name_string());
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    out.headers.emplace_back(std::move(name), std::string(field.value()));
  }
  out.upgrade = request.method() == http::verb::get && beast::http::token_list{request[http::field::connection]}.exists("upgrade") &&
                beast::http::token_list{request[http::field::upgrade]}.exists("websocket");
  return out;
}

void fill_head(http::response_header<>& message, const Reply& reply, bool keep_alive, bool local) {
  message.reason(std::string(reason_of(reply.status)));
  message.set(http::field::date, http_date());
  if (!keep_alive) message.set(http::field::connection, "close");
  if (keep_alive && message.version() == 10) message.set(http::field::connection, "keep-alive");
  if (!reply.type.empty() && reply.status != 204 && reply.status != 304) message.set(http::field::content_type, reply.type);
  if (!reply.etag.empty()) message.set(http::field::etag, reply.etag);
  for (const auto& [name, value] : reply.headers) {
    // What the caller gave comes back in places (Location): no line of it may become a field.
    std::string safe = value;
    std::ranges::replace_if(safe, [](unsigned char c) { return c < 0x20 || c == 0x7F; }, '?');
    message.set(name, safe);
  }
  message.set("X-Content-Type-Options", "nosniff");
  message.set("X-Frame-Options", "DENY");
  message.set("Referrer-Policy", "no-referrer");
  message.set("Cross-Origin-Resource-Policy", "same-origin");
  message.set("Cross-Origin-Opener-Policy", "same-origin");
  message.set("Content-Security-Policy", reply.type.starts_with("text/html") ? content_policy : "default-src 'none'; frame-ancestors 'none'");
  if (!local) message.set("Strict-Transport-Security", "max-age=31536000");
}

std::string event_text(const Json& event) {
  // JSON text has no line breaks: it is one "data" line.
  return fmt::format("id: {}\nevent: {}\ndata: {}\n\n", event.value("id", i64{0}), printable(event.value("kind", "message"), 32),
                     event.dump(-1, ' ', false, Json::error_handler_t::replace));
}

std::string terminal_protocol(const Head& head) {
  const std::string offered = head.find("sec-websocket-protocol").value_or("");
  for (const char* name : {"nagaya.terminal", "nagaya.streams"}) {
    if (beast::http::token_list{offered}.exists(name)) return name;
  }
  return {};
}

}  // namespace nagaya::api
