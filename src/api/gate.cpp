#include "api/gate.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "api/text.hpp"

namespace nagaya::api {
namespace {

constexpr std::size_t most_buckets = 4096;

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

bool is_address(const std::string& host) {
  in_addr four{};
  in6_addr six{};
  return ::inet_pton(AF_INET, host.c_str(), &four) == 1 || ::inet_pton(AF_INET6, host.c_str(), &six) == 1;
}

}  // namespace

std::optional<std::string> host_of(std::string_view authority) {
  std::string_view host = authority, port;
  if (host.starts_with('[')) {
    const std::size_t end = host.find(']');
    if (end == std::string_view::npos) return {};
    port = host.substr(end + 1);
    host = host.substr(1, end - 1);
    if (!port.empty() && port[0] != ':') return {};
  } else if (const std::size_t colon = host.find(':'); colon != std::string_view::npos) {
    port = host.substr(colon);
    host = host.substr(0, colon);
  }
  if (!port.empty() && !std::ranges::all_of(port.substr(1), [](char c) { return c >= '0' && c <= '9'; })) return {};
  if (host.ends_with('.')) host.remove_suffix(1);
  if (host.empty() || host.size() > 253) return {};
  for (const char c : host) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '-' && c != '.' && c != ':' && c != '_') return {};
  }
  return lower(host);
}

std::string offered_token(const Head& head) {
  constexpr std::string_view prefix = "nagaya.bearer.";
  const std::string offered = head.find("sec-websocket-protocol").value_or("");
  for (std::size_t at = 0; at < offered.size();) {
    const std::size_t end = std::min(offered.find(',', at), offered.size());
    std::string_view one = std::string_view(offered).substr(at, end - at);
    while (one.starts_with(' ')) one.remove_prefix(1);
    while (one.ends_with(' ')) one.remove_suffix(1);
    if (one.starts_with(prefix)) return std::string(one.substr(prefix.size()));
    at = end + 1;
  }
  return {};
}

Answer<> Gate::check_origin(const Head& head, const Peer& peer) const {
  const auto host_field = head.find("host");
  // RFC 9112, 3.2: one Host, and a server must refuse anything else.
  if (head.count("host") != 1) return refuse(400, "there must be one Host field");
  const auto host = host_of(*host_field);
  if (!host && !(peer.local && host_field->empty())) return refuse(400, "the Host field names no host");
  if (!peer.local && *host != "localhost" && !is_address(*host) && !options_.hosts.contains(*host)) {
    return refuse(421, fmt::format("this server is not '{}'", printable(*host, 64)), {}, "nagaya serve --allow-host NAME");
  }
  if (const auto origin = head.find("origin"); origin && !options_.origins.contains(*origin)) {
    if (peer.local || lower(*origin) != "https://" + lower(*host_field)) {
      return refuse(403, "a page of another site must not call", {}, "nagaya serve --allow-origin ORIGIN");
    }
  }
  if (const auto site = head.find("sec-fetch-site"); site && *site == "cross-site" && !head.find("origin")) {
    return refuse(403, "a page of another site must not call");
  }
  return {};
}

bool Gate::take(std::map<std::string, Bucket>& buckets, const std::string& key, double rate, double most) {
  const auto now = std::chrono::steady_clock::now();
  // Full buckets say nothing. Strangers' addresses are many: when even then there are too many, all begin anew.
  if (buckets.size() >= most_buckets && !buckets.contains(key)) {
    std::erase_if(buckets, [&](const auto& one) { return one.second.left + std::chrono::duration<double>(now - one.second.at).count() * rate >= most; });
    if (buckets.size() >= most_buckets) buckets.clear();
  }
  Bucket& bucket = buckets[key];
  if (bucket.at == std::chrono::steady_clock::time_point{}) {
    bucket.left = most;
  } else {
    bucket.left = std::min(most, bucket.left + std::chrono::duration<double>(now - bucket.at).count() * rate);
  }
  bucket.at = now;
  if (bucket.left < 1) return false;
  bucket.left -= 1;
  return true;
}

Answer<Caller> Gate::identify(const Head& head, const Peer& peer, std::string_view websocket_token) {
  std::string token(websocket_token);
  const auto field = head.find("authorization");
  if (head.count("authorization") > 1) return refuse(400, "there are several Authorization fields");
  if (field) {
    if (!lower(field->substr(0, 7)).starts_with("bearer ")) return refuse(401, "only bearer tokens are understood");
    token = field->substr(7);
    token.erase(0, token.find_first_not_of(' '));
  }
  const double most_failed = options_.failed_logins_per_minute;
  std::optional<Caller> caller;
  if (!token.empty() || field) {
    caller = tokens_.check(token);
    if (!caller) {
      // Whoever shares an address with a guesser, and has a right token, is not held up: only wrong ones are counted.
      const std::lock_guard lock(mutex_);
      if (!peer.local && !take(logins_, peer.address, most_failed / 60, most_failed)) {
        return std::unexpected(Problem{.status = 429, .detail = "too many wrong tokens from this address", .retry_after = 60});
      }
      return refuse(401, "the token is wrong, was withdrawn, or has expired");
    }
  } else if (peer.local) {
    if (!peer.role) return refuse(403, fmt::format("{} is neither root, nor the server's user, nor of its group", peer.name));
    return Caller{.name = peer.name, .role = *peer.role};
  } else if (!peer.certificate.empty()) {
    caller = tokens_.named(peer.certificate);
    if (!caller) return refuse(401, fmt::format("there is no token '{}' for this certificate", printable(peer.certificate, 64)));
  } else {
    return refuse(401, "who are you?", {}, "send a token, or a client certificate");
  }
  const std::lock_guard lock(mutex_);
  if (!peer.local && !take(requests_, caller->token, options_.requests_per_second, options_.burst)) {
    return std::unexpected(Problem{.status = 429, .detail = "too many requests", .retry_after = 1});
  }
  return std::move(*caller);
}

}  // namespace nagaya::api
