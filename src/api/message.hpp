// Requests and answers as handlers see them: without the library that speaks HTTP.
#pragma once
#include <chrono>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "api/backend.hpp"
#include "api/document.hpp"

namespace nagaya::api {

using Headers = std::vector<std::pair<std::string, std::string>>;

/// Who is at the other end of a connection.
struct Peer {
  bool local = false;          ///< over the Unix socket
  std::optional<Role> role{};  ///< of a local peer, by its user; nothing: a stranger
  std::string name{};          ///< of a local peer
  std::string address{};       ///< of a peer from afar
  std::string certificate{};   ///< common name of its verified certificate
};

/// The head of a request.
struct Head {
  std::string method, target;
  Headers headers{};  ///< names in lower case
  std::optional<u64> length{};
  bool chunked = false, upgrade = false;
  /// Values of all fields of that name, joined by ", ".
  [[nodiscard]] std::optional<std::string> find(std::string_view name) const;
  [[nodiscard]] std::size_t count(std::string_view name) const;
};

/// A request that may be made: routed, its caller known, its parameters good.
struct Call {
  const OperationSpec* operation = nullptr;  ///< null: /metrics
  Caller caller{};
  Json parameters = Json::object();  ///< of path and query, by name
  Json body{};                       ///< null: there was none
  bool head_only = false;
  std::string if_match{}, if_none_match{}, last_event_id{};
  u64 body_limit = 0;  ///< of a body that is kept in memory; 0: there must be none
  bool upload = false; ///< the body goes into `upload_stream`
  host::Fd upload_stream{};
  std::stop_token gone{};  ///< nobody waits for the answer any more
  std::chrono::steady_clock::time_point begun = std::chrono::steady_clock::now();

  [[nodiscard]] std::string text(const char* name) const { return parameters.value(name, ""); }
  [[nodiscard]] bool flag(const char* name) const { return parameters.value(name, false); }
};

/// A stream of events after that one.
struct Follow {
  i64 after = 0;
  std::string domain{};
  Caller caller{};
};
/// Nothing to say yet: the handler is to be asked again when something has happened, or after a while.
struct Again {};

struct Reply {
  unsigned status = 200;
  std::string type{};  ///< of the body
  std::variant<std::string, ByteStream, Follow, Terminal, Again> body{};
  std::string etag{};
  Headers headers{};
  bool close = false;  ///< the connection is of no use afterwards
};

[[nodiscard]] Reply json_reply(const Json& value, unsigned status = 200);
[[nodiscard]] Reply problem_reply(const Problem& problem, Headers headers = {});

}  // namespace nagaya::api
