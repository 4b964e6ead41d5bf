// What handlers work with.
#pragma once
#include "api/events.hpp"
#include "api/message.hpp"
#include "api/metrics.hpp"
#include "api/operations.hpp"
#include "api/tokens.hpp"

namespace nagaya::api {

struct Core {
  std::shared_ptr<const Document> document;
  Backend& backend;
  Tokens& tokens;
  Events& events;
  Operations& operations;
  Metrics& metrics;
};

/// Does what a route says. Its caller may do that, as far as route and object tell (see access.hpp). May block.
using Handler = Answer<Reply> (*)(Core&, Call&);

struct HandlerEntry {
  std::string_view operation;
  Handler handler;
};
[[nodiscard]] std::span<const HandlerEntry> domain_handlers();
[[nodiscard]] std::span<const HandlerEntry> inside_handlers();
[[nodiscard]] std::span<const HandlerEntry> object_handlers();
[[nodiscard]] std::span<const HandlerEntry> server_handlers();

/// Starts an operation on an object of `project` for this caller. When it acts, the caller must still be there, and the object must
/// still be in a project of the caller's: `project_now` tells (empty: there is none to ask for).
[[nodiscard]] Answer<Reply> start_operation(Core& core, const Call& call, Operations::Wanted wanted, std::function<Result<std::string>()> project_now,
                                            std::function<Result<>(Task&)> work);

}  // namespace nagaya::api
