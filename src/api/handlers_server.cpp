// The host, operations, events, access.
#include <charconv>

#include "api/core.hpp"

namespace nagaya::api {
namespace {

Answer<Reply> get_info(Core& core, Call& call) {
  auto info = core.backend.info();
  if (!info) return std::unexpected(problem_of(info.error()));
  (*info)["caller"] = {{"name", call.caller.name}, {"role", role_name(call.caller.role)}};
  if (call.caller.confined()) (*info)["caller"]["projects"] = call.caller.projects;
  return json_reply(*info);
}

Answer<Reply> list_operations(Core& core, Call& call) { return json_reply(core.operations.list(call.caller)); }

Answer<Reply> get_operation(Core& core, Call& call) {
  const auto operation = core.operations.get(call.text("operation"), call.caller);
  if (!operation) return std::unexpected(operation.error());
  const auto patience = std::chrono::seconds(call.parameters.value("wait", 0));
  if (operation->at("state") == "running" && std::chrono::steady_clock::now() < call.begun + patience) return Reply{.body = Again{}};
  return json_reply(*operation);
}

Answer<Reply> cancel_operation(Core& core, Call& call) {
  const auto operation = core.operations.cancel(call.text("operation"), call.caller);
  if (!operation) return std::unexpected(operation.error());
  Reply out = json_reply(*operation, 202);
  out.headers.emplace_back("Location", "/v1/operations/" + operation->at("id").get<std::string>());
  return out;
}

Answer<Reply> stream_events(Core& core, Call& call) {
  Follow follow{.after = core.events.last(), .domain = call.text("domain"), .caller = call.caller};
  if (call.parameters.contains("since")) follow.after = call.parameters["since"].get<i64>();
  // A browser that comes back sends the number it saw last; what else it asked for at first does not count then.
  if (!call.last_event_id.empty()) {
    const char* const end = call.last_event_id.data() + call.last_event_id.size();
    if (std::from_chars(call.last_event_id.data(), end, follow.after).ptr != end || follow.after < 0) {
      return refuse(400, "Last-Event-ID: it must be the id of an event", "Last-Event-ID");
    }
  }
  return Reply{.type = "text/event-stream", .body = std::move(follow)};
}

Answer<Reply> list_tokens(Core& core, Call&) { return json_reply(core.tokens.list()); }

Answer<Reply> create_token(Core& core, Call& call) {
  const auto token = core.tokens.create(call.body);
  if (!token) return std::unexpected(token.error());
  return json_reply(*token, 201);
}

Answer<Reply> delete_token(Core& core, Call& call) {
  if (auto done = core.tokens.remove(call.text("token")); !done) return std::unexpected(done.error());
  return Reply{.status = 204};
}

constexpr HandlerEntry handlers[] = {
    {"getInfo", get_info},          {"listOperations", list_operations}, {"getOperation", get_operation}, {"cancelOperation", cancel_operation},
    {"streamEvents", stream_events}, {"listTokens", list_tokens},        {"createToken", create_token},   {"deleteToken", delete_token},
};

}  // namespace

std::span<const HandlerEntry> server_handlers() { return handlers; }

}  // namespace nagaya::api
