#include "api/client/client.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <optional>

#include "api/client/link.hpp"

namespace nagaya::api {
namespace {

using Json = nlohmann::json;
using Take = std::function<bool(std::string_view)>;
constexpr std::size_t most_answer = 256 * MiB;

struct Exchange {
  http::request<http::string_body> request;
  Take take;  // for an answer that is no problem; without it `body` has all
  unsigned status = 0;
  std::string body;
};

net::awaitable<Result<>> exchange(const Remote& remote, net::ssl::context* tls, Exchange& x) {
  auto connected = co_await connect(remote, tls);
  if (!connected) co_return std::unexpected(std::move(connected.error()));
  LocalStream& link = *connected;
  ErrorCode error;
  co_await http::async_write(link, x.request, quietly(error));
  // A server that refuses a body may answer before it has taken it.
  beast::flat_buffer buffer;
  http::response_parser<http::buffer_body> parser;
  parser.body_limit(boost::none);
  co_await http::async_read_header(link, buffer, parser, quietly(error));
  if (error) co_return broken(remote, error);
  x.status = parser.get().result_int();
  const bool streams = x.take && x.status < 300;
  std::array<char, 64 * KiB> piece;
  while (!parser.is_done()) {
    parser.get().body().data = piece.data();
    parser.get().body().size = piece.size();
    parser.get().body().more = true;
    co_await http::async_read_some(link, buffer, parser, quietly(error));
    if (error == http::error::need_buffer) error = {};
    const std::size_t got = piece.size() - parser.get().body().size;
    if (streams) {
      if (got != 0 && !x.take({piece.data(), got})) co_return Result<>();
    } else if (x.body.size() + got > most_answer) {
      co_return fail("the server's answer is too large");
    } else {
      x.body.append(piece.data(), got);
    }
    if (error) co_return broken(remote, error);
  }
  co_return Result<>();
}

Result<> run_exchange(const Remote& remote, Exchange& x) {
  TRY_ASSIGN(const auto tls, client_tls(remote));
  x.request.set(http::field::host, authority(remote));
  x.request.set(http::field::connection, "close");
  if (!remote.token.empty()) x.request.set(http::field::authorization, "Bearer " + remote.token);
  net::io_context io{1};
  Result<> out;
  net::co_spawn(io, exchange(remote, tls.get(), x), [&](std::exception_ptr thrown, Result<> result) {
    out = thrown ? Result<>(fail("the connection to the server failed")) : std::move(result);
  });
  io.run();
  return out;
}

}  // namespace

Result<Json> Client::call(const std::string& method, const std::string& path, const Json& body) const {
  Exchange x{.request = {http::string_to_verb(method), "/v1" + path, 11}};
  if (!body.is_null()) {
    x.request.set(http::field::content_type, "application/json");
    x.request.body() = body.dump();
  }
  x.request.prepare_payload();
  TRY(run_exchange(remote_, x));
  if (x.status >= 300) return told(x.status, x.body);
  if (x.body.empty()) return Json();
  Json out = Json::parse(x.body, nullptr, false);
  if (out.is_discarded()) return fail("the server's answer is no JSON");
  return out;
}

Result<> Client::read(const std::string& path, const Take& take) const {
  Exchange x{.request = {http::verb::get, "/v1" + path, 11}, .take = take};
  TRY(run_exchange(remote_, x));
  if (x.status >= 300) return told(x.status, x.body);
  return {};
}

Result<> Client::operate(const std::string& method, const std::string& path, const Json& body, const std::function<void(const std::string&)>& tell, std::string* target) const {
  TRY_ASSIGN(Json operation, call(method, path, body));
  if (target != nullptr && operation.is_object()) *target = operation.value("target", "");
  std::string said;
  while (operation.is_object() && operation.value("state", "") == "running") {
    if (const std::string message = operation.value("message", ""); tell && !message.empty() && message != said) tell(said = message);
    // Short waits, so that its progress is seen.
    TRY_ASSIGN(operation, call("GET", fmt::format("/operations/{}?wait=2", url_part(operation.value("id", "")))));
  }
  if (!operation.is_object()) return fail("the server's answer is no operation");
  if (operation.value("state", "") == "done") return {};
  const Json error = operation.value("error", Json::object());
  return told(error.value("status", 500u), error.dump());
}

}  // namespace nagaya::api
