#include "api/http/accept.hpp"

#include <fmt/format.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.hpp"

namespace nagaya::api {
namespace {

// Of a certificate that was verified; a name with NUL in it is none, and two names are none.
std::string common_name(SSL* ssl) {
  X509* certificate = SSL_get0_peer_certificate(ssl);
  if (certificate == nullptr || SSL_get_verify_result(ssl) != X509_V_OK) return {};
  X509_NAME* subject = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0) return {};
  unsigned char* text = nullptr;
  const int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (size < 0) return {};
  std::string out(reinterpret_cast<const char*>(text), static_cast<std::size_t>(size));
  OPENSSL_free(text);
  return out.find('\0') == std::string::npos ? out : std::string();
}

net::awaitable<void> handshake_and_serve(Context& context, net::ip::tcp::socket socket, std::shared_ptr<net::ssl::context> tls, std::string address) {
  ErrorCode error;
  socket.set_option(net::ip::tcp::no_delay(true), error);
  socket.set_option(net::socket_base::keep_alive(true), error);
  auto stream = std::make_unique<TlsStream>(beast::tcp_stream(std::move(socket)), *tls);
  beast::get_lowest_layer(*stream).expires_after(std::chrono::seconds(context.limits.handshake_seconds));
  error = {};
  co_await stream->async_handshake(net::ssl::stream_base::server, quietly(error));
  if (error) {
    log::debug("{}: no TLS: {}", address, error.message());
    co_return;
  }
  auto [inner, outer] = local_pair(context.io.get_executor(), error);
  if (error) co_return;
  serve(context, std::move(inner), {.address = std::move(address), .certificate = common_name(stream->native_handle())});
  co_await bridge(std::move(stream), std::move(outer));
}

}  // namespace

Peer local_peer(int socket, int operators_group) {
  Peer out{.local = true, .name = "a stranger"};
  ucred who{};
  socklen_t size = sizeof who;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return out;
  out.name = who.uid == 0 ? "root" : fmt::format("user {}", who.uid);
  if (who.uid == 0 || who.uid == ::geteuid()) {
    out.role = Role::admin;
  } else if (operators_group >= 0) {
    std::vector<gid_t> groups(1024);
    size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    const bool known = ::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) == 0;
    groups.resize(known ? size / sizeof(gid_t) : 0);
    const gid_t wanted = static_cast<gid_t>(operators_group);
    if (who.gid == wanted || std::ranges::find(groups, wanted) != groups.end()) out.role = Role::operator_;
  }
  return out;
}

void serve_tls(Context& context, net::ip::tcp::socket socket, std::shared_ptr<net::ssl::context> tls, std::string address) {
  unsigned& mine = context.by_address[address];
  // A handshake counts as a connection: it costs more than most.
  if (mine >= context.limits.connections_per_address) {
    context.service.core().metrics.refused_connections++;
    return;
  }
  mine++;
  net::co_spawn(context.io, handshake_and_serve(context, std::move(socket), std::move(tls), address), [&context, address](std::exception_ptr) {
    const auto found = context.by_address.find(address);
    if (--found->second == 0) context.by_address.erase(found);
  });
}

}  // namespace nagaya::api
