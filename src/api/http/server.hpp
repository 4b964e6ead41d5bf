// The HTTP server: listens, speaks HTTP/1.1 and WebSocket by Boost.Beast, and asks the service. One thread does all input and
// output; what may block goes to workers.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "api/service.hpp"
#include "host/fd.hpp"

namespace nagaya::api {

struct TlsFiles {
  std::string certificate, key;  ///< PEM; the chain begins with the server's own
  std::string client_ca{};       ///< PEM; empty: no client certificates
};

struct ServerLimits {
  unsigned connections = 512, connections_per_address = 64;
  unsigned head_seconds = 30;     ///< from the end of the last answer to the end of the next head
  unsigned body_seconds = 60;     ///< for a JSON body; for a stream of bytes: without a byte
  unsigned write_seconds = 60;    ///< a client that takes nothing so long is gone
  unsigned stream_seconds = 600;  ///< the same for a stream, whose reader may pause
  unsigned handshake_seconds = 15;
  unsigned ping_seconds = 30;     ///< a WebSocket without a sign of life for twice that is gone
  unsigned drain_seconds = 10;
  std::size_t head_bytes = 64 * KiB;
  std::size_t body_bytes_at_once = 64 * MiB;  ///< of all connections together
};

struct ServerOptions {
  std::vector<host::Fd> unix_sockets{};  ///< listening
  std::vector<host::Fd> tcp_sockets{};   ///< listening; TLS is spoken there
  int operators_group = -1;              ///< members of this group are operators on Unix sockets
  TlsFiles tls{};
  ServerLimits limits{};
};

class Server {
 public:
  static Result<std::unique_ptr<Server>> create(ServerOptions options, Service& service);
  ~Server();
  /// Serves until SIGTERM or SIGINT (or `stop`), then lets what is under way end. SIGHUP reads the certificate again. `ready` is
  /// called once it listens.
  void run(const std::function<void()>& ready);
  /// From any thread.
  void stop();

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Names a certificate is for (subject alternative names of type DNS), in lower case.
[[nodiscard]] Result<std::vector<std::string>> certificate_names(const std::string& file);

}  // namespace nagaya::api
