#include "api/http/server.hpp"

#include <fmt/format.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <boost/asio/signal_set.hpp>

#include "api/http/accept.hpp"
#include "base/log.hpp"

namespace nagaya::api {
namespace {

Result<std::shared_ptr<net::ssl::context>> make_tls(const TlsFiles& files) {
  auto out = std::make_shared<net::ssl::context>(net::ssl::context::tls_server);
  ErrorCode error;
  const auto broken = [&](const std::string& file) -> std::unexpected<Error> { return fail(fmt::format("cannot use '{}'", file), error.message()); };
  out->set_options(net::ssl::context::default_workarounds | net::ssl::context::no_compression, error);
  SSL_CTX_set_min_proto_version(out->native_handle(), TLS1_2_VERSION);
  SSL_CTX_set_options(out->native_handle(), SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  if (out->use_certificate_chain_file(files.certificate, error); error) return broken(files.certificate);
  if (out->use_private_key_file(files.key, net::ssl::context::pem, error); error) return broken(files.key);
  if (SSL_CTX_check_private_key(out->native_handle()) != 1) return fail(fmt::format("cannot use '{}'", files.key), "it is not the certificate's key");
  if (!files.client_ca.empty()) {
    if (out->load_verify_file(files.client_ca, error); error) return broken(files.client_ca);
    STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(files.client_ca.c_str());
    if (names != nullptr) SSL_CTX_set_client_CA_list(out->native_handle(), names);
    // Whoever has no certificate may still have a token.
    out->set_verify_mode(net::ssl::verify_peer, error);
    const unsigned char id[] = "nagaya";
    SSL_CTX_set_session_id_context(out->native_handle(), id, sizeof id - 1);
  }
  return out;
}

template <class Protocol>
Result<net::basic_socket_acceptor<Protocol>> adopt(net::io_context& io, Protocol protocol, host::Fd socket) {
  net::basic_socket_acceptor<Protocol> out(io);
  ErrorCode error;
  out.assign(protocol, socket.get(), error);
  if (error) return fail("cannot listen", error.message());
  (void)socket.release();
  return out;
}

}  // namespace

class Server::Impl {
 public:
  Impl(ServerOptions options, Service& service)
      : context_(service, options.limits), options_(std::move(options)), signals_(context_.io), drained_(context_.io) {}

  Result<> open() {
    for (host::Fd& socket : options_.unix_sockets) {
      TRY_ASSIGN(auto acceptor, adopt(context_.io, net::local::stream_protocol(), std::move(socket)));
      local_.push_back(std::make_unique<LocalAcceptor>(std::move(acceptor)));
    }
    for (host::Fd& socket : options_.tcp_sockets) {
      sockaddr_storage address{};
      socklen_t size = sizeof address;
      ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size);
      TRY_ASSIGN(auto acceptor, adopt(context_.io, address.ss_family == AF_INET6 ? net::ip::tcp::v6() : net::ip::tcp::v4(), std::move(socket)));
      tcp_.push_back(std::make_unique<TcpAcceptor>(std::move(acceptor)));
    }
    if (!tcp_.empty()) {
      TRY_ASSIGN(tls_, make_tls(options_.tls));
    }
    return {};
  }

  void run(const std::function<void()>& ready) {
    for (auto& acceptor : local_) net::co_spawn(context_.io, accept_local(*acceptor), net::detached);
    for (auto& acceptor : tcp_) net::co_spawn(context_.io, accept_tcp(*acceptor), net::detached);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) signals_.add(signal);
    wait_signal();
    context_.service.core().events.on_event([this] {
      // Many events at once are one awakening.
      if (!awake_.exchange(true)) {
        net::post(context_.io, [this] {
          awake_ = false;
          context_.wake_sleepers();
        });
      }
    });
    ready();
    context_.io.run();
    context_.service.core().events.on_event({});
  }

  void stop() {
    net::post(context_.io, [this] { drain(); });
  }

 private:
  using LocalAcceptor = net::basic_socket_acceptor<net::local::stream_protocol>;
  using TcpAcceptor = net::basic_socket_acceptor<net::ip::tcp>;

  void wait_signal() {
    signals_.async_wait([this](ErrorCode error, int signal) {
      if (error) return;
      if (signal == SIGHUP) {
        reload();
      } else if (context_.draining) {
        context_.io.stop();  // asked twice
        return;
      } else {
        drain();
      }
      wait_signal();
    });
  }

  void reload() {
    if (tcp_.empty()) return;
    auto fresh = make_tls(options_.tls);
    if (fresh) {
      tls_ = std::move(*fresh);
    } else {
      log::error("{}; the old certificate stays", fresh.error().message());
    }
  }

  void drain() {
    if (context_.draining) return;
    context_.draining = true;
    ErrorCode ignored;
    for (auto& acceptor : local_) acceptor->close(ignored);
    for (auto& acceptor : tcp_) acceptor->close(ignored);
    // Closers take themselves out of the list while it is walked.
    std::vector<std::function<void()>> closers;
    for (const auto& [id, close] : context_.closers) closers.push_back(close);
    for (const auto& close : closers) close();
    context_.wake_sleepers();
    give_up_at_ = std::chrono::steady_clock::now() + std::chrono::seconds(context_.limits.drain_seconds);
    watch_drain();
  }

  void watch_drain() {
    if ((context_.connections == 0 && context_.by_address.empty()) || std::chrono::steady_clock::now() > give_up_at_) {
      context_.io.stop();
      return;
    }
    drained_.expires_after(std::chrono::milliseconds(20));
    drained_.async_wait([this](ErrorCode error) {
      if (!error) watch_drain();
    });
  }

  [[nodiscard]] bool full() {
    if (context_.connections < context_.limits.connections) return false;
    context_.service.core().metrics.refused_connections++;
    return true;
  }

  // Without descriptors a connection waits in the queue; asking again at once would be a spin.
  net::awaitable<void> rest() {
    net::steady_timer timer(context_.io, std::chrono::milliseconds(100));
    co_await timer.async_wait(net::use_awaitable);
  }

  net::awaitable<void> accept_local(LocalAcceptor& acceptor) {
    while (acceptor.is_open()) {
      ErrorCode error;
      auto socket = co_await acceptor.async_accept(quietly(error));
      if (error == net::error::operation_aborted) co_return;
      if (error) {
        co_await rest();
      } else if (!full()) {
        Peer peer = local_peer(static_cast<int>(socket.native_handle()), options_.operators_group);
        serve(context_, std::move(socket), std::move(peer));
      }
    }
  }

  net::awaitable<void> accept_tcp(TcpAcceptor& acceptor) {
    while (acceptor.is_open()) {
      ErrorCode error;
      net::ip::tcp::endpoint from;
      auto socket = co_await acceptor.async_accept(from, quietly(error));
      if (error == net::error::operation_aborted) co_return;
      if (error) {
        co_await rest();
      } else if (!full()) {
        serve_tls(context_, std::move(socket), tls_, from.address().to_string());
      }
    }
  }

  Context context_;
  ServerOptions options_;
  std::vector<std::unique_ptr<LocalAcceptor>> local_;
  std::vector<std::unique_ptr<TcpAcceptor>> tcp_;
  std::shared_ptr<net::ssl::context> tls_;
  net::signal_set signals_;
  net::steady_timer drained_;
  std::chrono::steady_clock::time_point give_up_at_{};
  std::atomic<bool> awake_ = false;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::create(ServerOptions options, Service& service) {
  auto impl = std::make_unique<Impl>(std::move(options), service);
  TRY(impl->open());
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

void Server::run(const std::function<void()>& ready) { impl_->run(ready); }
void Server::stop() { impl_->stop(); }

Result<std::vector<std::string>> certificate_names(const std::string& file) {
  const std::unique_ptr<BIO, int (*)(BIO*)> bytes(BIO_new_file(file.c_str(), "r"), BIO_free);
  if (!bytes) return fail(fmt::format("cannot read '{}'", file));
  const std::unique_ptr<X509, void (*)(X509*)> certificate(PEM_read_bio_X509(bytes.get(), nullptr, nullptr, nullptr), X509_free);
  if (!certificate) return fail(fmt::format("'{}'", file), "there is no certificate in it");
  std::vector<std::string> out;
  auto* names = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names); i++) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type != GEN_DNS) continue;
    std::string text(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)), static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName)));
    std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    out.push_back(std::move(text));
  }
  GENERAL_NAMES_free(names);
  return out;
}

}  // namespace nagaya::api
