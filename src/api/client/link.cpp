#include "api/client/link.hpp"

#include <fmt/format.h>

#include <boost/asio/ssl/host_name_verification.hpp>
#include <cerrno>

namespace nagaya::api {

Result<Remote> parse_remote(const std::string& text) {
  const auto wrong = [&](const char* why) -> std::unexpected<Error> { return fail(fmt::format("--host {}", text), why, "write unix:///path or https://name:port"); };
  Remote out;
  if (text.starts_with("unix://")) {
    out.socket = text.substr(7);
    if (!out.socket.starts_with('/')) return wrong("the path must be absolute");
    return out;
  }
  if (!text.starts_with("https://")) return wrong("it is neither a Unix socket nor https");
  std::string authority = text.substr(8);
  while (authority.ends_with('/')) authority.pop_back();
  if (authority.find_first_of("/?#@ ") != std::string::npos) return wrong("it has more than a name and a port");
  const std::size_t bracket = authority.rfind(']'), colon = authority.rfind(':');
  if (colon != std::string::npos && (bracket == std::string::npos || colon > bracket)) {
    out.port = authority.substr(colon + 1);
    authority.resize(colon);
  }
  if (authority.starts_with('[') && authority.ends_with(']')) authority = authority.substr(1, authority.size() - 2);
  if (out.port.empty()) out.port = "443";
  if (authority.empty() || out.port.find_first_not_of("0123456789") != std::string::npos) return wrong("the name or the port is wrong");
  out.host = authority;
  return out;
}

std::string url_part(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<u8>(c));
    }
  }
  return out;
}

std::string authority(const Remote& remote) {
  if (!remote.socket.empty()) return "localhost";
  const std::string host = remote.host.find(':') == std::string::npos ? remote.host : "[" + remote.host + "]";
  return remote.port == "443" ? host : host + ":" + remote.port;
}

std::unexpected<Error> broken(const Remote& remote, const ErrorCode& error) {
  const std::string where = remote.socket.empty() ? authority(remote) : remote.socket;
  const char* hint = remote.socket.empty() ? "" : "'nagaya serve' starts the server";
  return fail(fmt::format("cannot reach the server at {}", where), error.message(), hint);
}

std::unexpected<Error> told(unsigned status, const std::string& body) {
  const auto problem = nlohmann::json::parse(body, nullptr, false);
  Error out{fmt::format("the server answered {}", status)};
  if (problem.is_object()) {
    out.what = problem.value("detail", problem.value("title", out.what));
    out.hint = problem.value("hint", "");
  }
  out.code = status == 404 ? ENOENT : status == 409 ? EBUSY : status == 401 || status == 403 ? EACCES : status < 500 ? EINVAL : EIO;
  return std::unexpected(std::move(out));
}

Result<std::unique_ptr<net::ssl::context>> client_tls(const Remote& remote) {
  if (!remote.socket.empty()) return nullptr;
  auto out = std::make_unique<net::ssl::context>(net::ssl::context::tls_client);
  SSL_CTX_set_min_proto_version(out->native_handle(), TLS1_2_VERSION);
  ErrorCode error;
  const auto wrong = [&](const std::string& file) -> std::unexpected<Error> { return fail(fmt::format("cannot use '{}'", file), error.message()); };
  if (remote.ca_file.empty()) {
    out->set_default_verify_paths(error);
  } else if (out->load_verify_file(remote.ca_file, error); error) {
    return wrong(remote.ca_file);
  }
  // A server's own certificate, given as the authority, is trusted as it stands.
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(out->native_handle()), X509_V_FLAG_PARTIAL_CHAIN);
  out->set_verify_mode(net::ssl::verify_peer, error);
  if (!remote.certificate.empty()) {
    if (out->use_certificate_chain_file(remote.certificate, error); error) return wrong(remote.certificate);
    const std::string& key = remote.key.empty() ? remote.certificate : remote.key;
    if (out->use_private_key_file(key, net::ssl::context::pem, error); error) return wrong(key);
  }
  return out;
}

namespace {

net::awaitable<Result<LocalStream>> connect_local(const Remote& remote) {
  LocalStream link(co_await net::this_coro::executor);
  if (remote.socket.size() >= sizeof(sockaddr_un::sun_path)) co_return fail(fmt::format("the path '{}' is too long for a socket", remote.socket));
  ErrorCode error;
  co_await link.async_connect(net::local::stream_protocol::endpoint(remote.socket), quietly(error));
  if (error) co_return broken(remote, error);
  co_return std::move(link);
}

}  // namespace

net::awaitable<Result<LocalStream>> connect(const Remote& remote, net::ssl::context* tls) {
  if (tls == nullptr) co_return co_await connect_local(remote);
  const auto executor = co_await net::this_coro::executor;
  ErrorCode error;
  net::ip::tcp::resolver resolver(executor);
  const auto found = co_await resolver.async_resolve(remote.host, remote.port, quietly(error));
  if (error) co_return broken(remote, error);
  auto link = std::make_unique<TlsStream>(beast::tcp_stream(executor), *tls);
  // IP addresses are names of certificates, too, but not of the handshake (RFC 6066, 3).
  net::ip::make_address(remote.host, error);
  if (error) SSL_set_tlsext_host_name(link->native_handle(), remote.host.c_str());
  link->set_verify_callback(net::ssl::host_name_verification(remote.host));
  beast::get_lowest_layer(*link).expires_after(std::chrono::seconds(15));
  error = {};
  co_await beast::get_lowest_layer(*link).async_connect(found, quietly(error));
  if (error) co_return broken(remote, error);
  co_await link->async_handshake(net::ssl::stream_base::client, quietly(error));
  if (error) co_return broken(remote, error);
  auto [inner, outer] = local_pair(executor, error);
  if (error) co_return broken(remote, error);
  net::co_spawn(executor, bridge(std::move(link), std::move(outer)), net::detached);
  co_return LocalStream(std::move(inner));
}

}  // namespace nagaya::api
