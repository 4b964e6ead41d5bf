// A client of the REST API, over a Unix socket or TLS: what `nagaya --host` speaks.
#pragma once
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/result.hpp"
#include "base/types.hpp"
#include "host/terminal.hpp"

namespace nagaya::api {

/// Where a server is, and who we are to it.
struct Remote {
  std::string socket{};             ///< path of a Unix socket, or
  std::string host{}, port{};       ///< name or address, and port
  std::string token{};              ///< bearer token; may be empty
  std::string ca_file{};            ///< PEM; empty: the system's authorities
  std::string certificate{}, key{}; ///< PEM files of a client certificate; may be empty
};
/// "unix:///path" or "https://name[:port]".
[[nodiscard]] Result<Remote> parse_remote(const std::string& text);

/// Streams of a program that runs on the other side.
struct RemoteStreams {
  int input = -1;  ///< -1: none
  int output = 1, errors = 2;
  bool terminal = false;
  int resized = -1;  ///< readable when the terminal's size has changed; -1: never
  std::function<host::TerminalSize()> size{};
  bool detach_key = false;  ///< Ctrl-] ends the connection
};

class Client {
 public:
  explicit Client(Remote remote) : remote_(std::move(remote)) {}
  /// The answer's body (null: there is none). A problem becomes an error whose code is ENOENT for 404, EBUSY for 409, EACCES for 401 and 403.
  [[nodiscard]] Result<nlohmann::json> call(const std::string& method, const std::string& path, const nlohmann::json& body = {}) const;
  /// Gives the body piece by piece until it ends or `take` says false.
  Result<> read(const std::string& path, const std::function<bool(std::string_view)>& take) const;
  /// Calls, and waits for the operation the answer names to end; progress goes to `tell`.
  /// `target` gets the operation's, such as the name of a new domain.
  Result<> operate(const std::string& method, const std::string& path, const nlohmann::json& body, const std::function<void(const std::string&)>& tell,
                   std::string* target = nullptr) const;
  /// A console or program over a WebSocket; its exit code, or nothing when the server did not know one.
  Result<std::optional<int>> attach(const std::string& path, const RemoteStreams& streams) const;

 private:
  Remote remote_;
};

/// Escapes what must not stand in a part of a path or a query as it is (RFC 3986, unreserved characters stay).
[[nodiscard]] std::string url_part(std::string_view text);

}  // namespace nagaya::api
