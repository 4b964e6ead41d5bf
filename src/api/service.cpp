#include "api/service.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "api/schema.hpp"
#include "api/text.hpp"
#include "base/log.hpp"

namespace nagaya::api {
namespace {

constexpr const char* bearer_challenge = "Bearer realm=\"nagaya\"";

// Whether an Accept field admits a media type (RFC 9110, 12.5.1); weights other than 0 make no difference: there is one to give.
bool accepts(const std::string& accept, std::string_view type) {
  const std::string_view bare = type.substr(0, type.find(';'));
  const std::string_view main = bare.substr(0, bare.find('/') + 1);
  for (std::size_t at = 0; at < accept.size();) {
    const std::size_t end = std::min(accept.find(',', at), accept.size());
    std::string_view one = std::string_view(accept).substr(at, end - at);
    at = end + 1;
    while (one.starts_with(' ')) one.remove_prefix(1);
    std::string_view range = one.substr(0, one.find(';')), rest = one.substr(range.size());
    while (range.ends_with(' ')) range.remove_suffix(1);
    if (const std::size_t q = rest.find("q=0"); q != std::string_view::npos && rest.find_first_not_of("0.", q + 2) == std::string_view::npos) continue;
    if (range == "*/*" || range == bare || (range.ends_with("/*") && range.substr(0, range.size() - 1) == main)) return true;
  }
  return false;
}

std::string join(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

std::string media_type(std::string_view field) {
  std::string out(field.substr(0, field.find(';')));
  while (out.ends_with(' ')) out.pop_back();
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

}  // namespace

Service::Service(Core core, ServiceOptions options, StaticFiles files)
    : core_(std::move(core)), options_(std::move(options)), files_(std::move(files)), router_(*core_.document), gate_(core_.tokens, options_.gate),
      document_json_(core_.document->root().dump()) {}

Result<std::unique_ptr<Service>> Service::create(Core core, ServiceOptions options, StaticFiles files) {
  std::unique_ptr<Service> out(new Service(std::move(core), std::move(options), std::move(files)));
  const Document& document = *out->core_.document;
  for (const auto& table : {domain_handlers(), inside_handlers(), object_handlers(), server_handlers()}) {
    for (const HandlerEntry& entry : table) {
      if (document.find(entry.operation) == nullptr) return fail("the API's document", fmt::format("it has no operation {}", entry.operation));
      if (!out->handlers_.emplace(entry.operation, entry.handler).second) return fail("the API", fmt::format("{} has two handlers", entry.operation));
    }
  }
  for (const OperationSpec& operation : document.operations()) {
    if (!out->handlers_.contains(operation.id)) return fail("the API", fmt::format("operation {} has no handler", operation.id));
  }
  return out;
}

std::optional<Reply> Service::fixed_page(const Head& head, const Target& target) const {
  const std::string none_match = head.find("if-none-match").value_or("");
  const bool document = target.path == "/v1/openapi.json" || target.path == "/v1/openapi.yaml", health = target.path == "/healthz";
  const bool file = !files_.empty() && !target.path.starts_with("/v1/") && target.path != "/v1" && target.path != "/metrics";
  if (!document && !health && !file) return {};
  if (head.method == "OPTIONS") return Reply{.status = 204, .headers = {{"Allow", "GET, HEAD, OPTIONS"}}};
  if (head.method != "GET" && head.method != "HEAD") {
    return problem_reply({.status = 405, .detail = "this path does not take that method"}, {{"Allow", "GET, HEAD, OPTIONS"}});
  }
  if (health) return Reply{.type = "text/plain; charset=utf-8", .body = std::string("ok\n"), .headers = {{"Cache-Control", "no-store"}}};
  if (file) return files_.get(target.path, none_match);
  const bool json = target.path.ends_with(".json");
  Reply out{.type = json ? "application/json" : "application/yaml", .body = json ? document_json_ : std::string(document_text())};
  out.etag = etag_of(std::get<std::string>(out.body));
  if (names_etag(none_match, out.etag)) out.status = 304, out.body = std::string();
  return out;
}

std::variant<Reply, Call> Service::begin(const Head& head, const Peer& peer) {
  Headers extra;
  auto target = parse_target(head.target);
  if (!target) return problem_reply(target.error());
  if (auto ok = gate_.check_origin(head, peer); !ok) return problem_reply(ok.error());
  if (auto page = fixed_page(head, *target)) {
    if (head.chunked || head.length.value_or(0) != 0) page->close = true;
    return std::move(*page);
  }
  auto call = admit(head, peer, *target, extra);
  if (call) return std::move(*call);
  if (call.error().status == 204) return Reply{.status = 204, .headers = std::move(extra)};
  if (call.error().status == 401) {
    extra.emplace_back("WWW-Authenticate", bearer_challenge);
    core_.metrics.failed_logins++;
  }
  return problem_reply(call.error(), std::move(extra));
}

Answer<Call> Service::admit(const Head& head, const Peer& peer, const Target& target, Headers& extra) {
  const bool metrics = target.path == "/metrics";
  if (metrics && options_.open_metrics && (head.method == "GET" || head.method == "HEAD")) {
    Call call{.caller = {.name = "scraper"}, .head_only = head.method == "HEAD"};
    if (auto ok = admit_body(head, call); !ok) return std::unexpected(ok.error());
    return call;
  }
  std::vector<std::string> allowed;
  auto route = metrics ? Answer<Route>(Route{}) : router_.find(head.method, target.segments, allowed);
  // A browser's token in a subprotocol is for WebSockets alone.
  const bool websocket = route && route->operation != nullptr && route->operation->websocket;
  auto caller = gate_.identify(head, peer, websocket ? offered_token(head) : "");
  if (!caller) return std::unexpected(caller.error());
  if (metrics) {
    allowed = {"GET", "HEAD", "OPTIONS"};
    if (head.method != "GET" && head.method != "HEAD") route = refuse(405, "this path does not take that method");
  }
  if (!route) {
    if (!allowed.empty()) extra.emplace_back("Allow", join(allowed));
    if (!allowed.empty() && head.method == "OPTIONS") return refuse(204, "");
    return std::unexpected(route.error());
  }
  Call call{.operation = route->operation, .caller = std::move(*caller), .head_only = head.method == "HEAD"};
  if (metrics) {
    if (auto ok = admit_body(head, call); !ok) return std::unexpected(ok.error());
    return call;
  }
  const OperationSpec& operation = *call.operation;
  if (auto ok = may_call(call.caller, operation.role, operation.scope, operation.method == "GET"); !ok) return std::unexpected(ok.error());
  auto given = parameters(*route, target);
  if (!given) return std::unexpected(given.error());
  call.parameters = std::move(*given);
  if (operation.websocket != head.upgrade) {
    if (!operation.websocket) return refuse(400, "this path is no WebSocket");
    extra.emplace_back("Upgrade", "websocket");
    return refuse(426, "this path is a WebSocket");
  }
  if (const auto accept = head.find("accept"); accept && !accept->empty() && !operation.produces.empty() && !operation.websocket) {
    if (std::ranges::none_of(operation.produces, [&](const std::string& type) { return accepts(*accept, type); })) {
      return refuse(406, fmt::format("the answer is {}", join(operation.produces)));
    }
  }
  call.if_match = head.find("if-match").value_or("");
  call.if_none_match = head.find("if-none-match").value_or("");
  call.last_event_id = head.find("last-event-id").value_or("");
  if (auto ok = admit_body(head, call); !ok) return std::unexpected(ok.error());
  return call;
}

Answer<> Service::admit_body(const Head& head, Call& call) const {
  const bool body = head.chunked || head.length.value_or(0) != 0;
  if (const auto expect = head.find("expect"); expect && media_type(*expect) != "100-continue") return refuse(417, "only 100-continue is understood");
  if (head.find("content-encoding")) return refuse(415, "bodies must not be compressed", "Content-Encoding");
  if (call.operation == nullptr || !call.operation->takes_body) {
    return body ? refuse(400, "this request takes no body") : Answer<>();
  }
  const OperationSpec& operation = *call.operation;
  if (!body) return operation.body_required ? refuse(400, "the body is missing") : Answer<>();
  if (media_type(head.find("content-type").value_or("")) != operation.body_type) return refuse(415, fmt::format("the body must be {}", operation.body_type), "Content-Type");
  if (operation.body_type != "application/json") {
    call.upload = true;
    return {};
  }
  call.body_limit = options_.most_body;
  if (head.length.value_or(0) > call.body_limit) return refuse(413, fmt::format("the body must have {} bytes at most", call.body_limit));
  return {};
}

Answer<Json> Service::parameters(const Route& route, const Target& target) const {
  Json out = Json::object();
  for (const auto& [name, words] : target.query) {
    if (route.operation->find(Parameter::In::query, name) == nullptr) {
      return refuse(400, fmt::format("there is no parameter '{}'", printable(name, 64)), printable(name, 64));
    }
  }
  for (const Parameter& parameter : route.operation->parameters) {
    std::vector<std::string> words;
    if (parameter.in == Parameter::In::path) {
      words = {route.parameters.at(parameter.name)};
    } else if (parameter.in == Parameter::In::query) {
      const auto found = target.query.find(parameter.name);
      if (found == target.query.end()) {
        if (parameter.required) return refuse(400, fmt::format("parameter {} is missing", parameter.name), parameter.name);
        continue;
      }
      words = found->second;
    } else {
      continue;
    }
    auto value = read_parameter(*core_.document, parameter, words);
    if (!value) return std::unexpected(value.error());
    out[parameter.name] = std::move(*value);
  }
  return out;
}

Answer<> Service::may_touch(Call& call) {
  const Caller& caller = call.caller;
  switch (call.operation->scope) {
    case Scope::domain: {
      const std::string name = call.text("domain");
      const auto project = core_.backend.domains().project(name);
      if (!project) return std::unexpected(problem_of(project.error()));
      return may_use(caller, *project, "domain", name);
    }
    case Scope::volume: {
      const std::string name = call.text("volume");
      const auto volumes = core_.backend.objects().volumes();
      if (!volumes) return std::unexpected(problem_of(volumes.error()));
      const auto found = std::ranges::find_if(*volumes, [&](const Json& volume) { return volume.value("name", "") == name; });
      if (found == volumes->end()) return refuse(404, fmt::format("there is no volume '{}'", name));
      return may_use(caller, found->value("project", default_project), "volume", name);
    }
    case Scope::operation: {
      const auto operation = core_.operations.get(call.text("operation"), caller);
      if (!operation) return std::unexpected(operation.error());
      return {};
    }
    case Scope::definition: {
      if (call.body.contains("project")) {
        if (auto ok = may_make_in(caller, call.body["project"].get<std::string>()); !ok) return ok;
      }
      return may_define(caller, call.body);
    }
    default: return {};
  }
}

Answer<Reply> Service::act(Call& call, std::string_view body) {
  if (call.operation == nullptr) {
    return Reply{.type = "text/plain; version=0.0.4; charset=utf-8", .body = core_.metrics.render(core_.backend, call.caller, core_.operations.running())};
  }
  const OperationSpec& operation = *call.operation;
  if (!body.empty() && operation.body_schema != nullptr && call.body.is_null()) {
    auto parsed = read_json(body);
    if (!parsed) return std::unexpected(parsed.error());
    if (auto ok = validate(*core_.document, *operation.body_schema, *parsed); !ok) return std::unexpected(ok.error());
    call.body = std::move(*parsed);
  } else if (body.empty() && operation.body_schema != nullptr && operation.body_required && call.body.is_null()) {
    return refuse(400, "the body is missing");
  }
  if (auto ok = may_touch(call); !ok) return std::unexpected(ok.error());
  return handlers_.find(operation.id)->second(core_, call);
}

Reply Service::finish(Call& call, std::string_view body) {
  Answer<Reply> answer;
  try {
    answer = act(call, body);
  } catch (const std::exception& error) {
    log::error("{}: {}", call.operation == nullptr ? "metrics" : call.operation->id, error.what());
    answer = refuse(500, "the server made a mistake");
  }
  if (!answer) return problem_reply(answer.error());
  Reply& reply = *answer;
  if (call.operation != nullptr && call.operation->method == "GET" && reply.status == 200) {
    if (const std::string* text = std::get_if<std::string>(&reply.body)) {
      if (reply.etag.empty()) reply.etag = etag_of(*text);
      if (!call.if_none_match.empty() && names_etag(call.if_none_match, reply.etag)) {
        reply.status = 304;
        reply.body = std::string();
        reply.type.clear();
      }
    }
  }
  reply.headers.emplace_back("Cache-Control", "no-store");
  return std::move(reply);
}

}  // namespace nagaya::api
