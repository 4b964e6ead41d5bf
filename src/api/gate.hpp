// The gate before all routes: whether a request may have come from where it says (rebound names, other sites' pages), and who
// makes it.
#pragma once
#include <map>
#include <mutex>
#include <set>
#include <string>

#include "api/message.hpp"
#include "api/tokens.hpp"

namespace nagaya::api {

struct GateOptions {
  /// Names under which the server is reached, in lower case, beside IP addresses and localhost: its certificate's, and more.
  std::set<std::string> hosts{};
  /// Origins of other sites whose pages may call ("https://console.example").
  std::set<std::string> origins{};
  unsigned requests_per_second = 200, burst = 400;  ///< for each token
  unsigned failed_logins_per_minute = 30;           ///< for each address
};

class Gate {
 public:
  Gate(const Tokens& tokens, GateOptions options) : tokens_(tokens), options_(std::move(options)) {}

  /// Host and Origin. Status 400, 403, 421.
  [[nodiscard]] Answer<> check_origin(const Head& head, const Peer& peer) const;
  /// Status 401, or 429 when there were too many wrong ones, or too many requests.
  Answer<Caller> identify(const Head& head, const Peer& peer, std::string_view websocket_token = {});

 private:
  struct Bucket {
    double left = 0;
    std::chrono::steady_clock::time_point at{};
  };
  /// Takes one from a bucket that fills by `rate` a second up to `most`; false: it is empty.
  static bool take(std::map<std::string, Bucket>& buckets, const std::string& key, double rate, double most);
  const Tokens& tokens_;
  const GateOptions options_;
  std::mutex mutex_;
  std::map<std::string, Bucket> logins_, requests_;  // guarded by mutex_
};

/// The host of a Host field or an authority: "[::1]:8443" is "::1"; nothing: it is none.
[[nodiscard]] std::optional<std::string> host_of(std::string_view authority);
/// The token a browser offers as a subprotocol ("nagaya.bearer.TOKEN").
[[nodiscard]] std::string offered_token(const Head& head);

}  // namespace nagaya::api
