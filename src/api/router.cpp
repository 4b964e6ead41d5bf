#include "api/router.hpp"

#include <algorithm>
#include <optional>

namespace nagaya::api {
namespace {

bool is_parameter(const std::string& segment) { return segment.starts_with('{'); }

struct Match {
  const OperationSpec* operation;
  std::map<std::string, std::string> parameters;
  std::size_t fixed = 0;  // segments that were equal: the more, the closer
};

std::optional<Match> match(const OperationSpec& operation, const std::vector<std::string>& segments) {
  if (operation.segments.size() != segments.size()) return {};
  Match out{&operation, {}};
  for (std::size_t i = 0; i < segments.size(); i++) {
    const std::string& wanted = operation.segments[i];
    if (!is_parameter(wanted)) {
      if (wanted != segments[i]) return {};
      out.fixed++;
      continue;
    }
    const std::string name = wanted.substr(1, wanted.size() - 2);
    // A parameter of few values makes as many paths: others are no path of ours.
    const Parameter* parameter = operation.find(Parameter::In::path, name);
    if (parameter != nullptr && parameter->schema->contains("enum")) {
      const Json& words = (*parameter->schema)["enum"];
      if (std::ranges::find(words, Json(segments[i])) == words.end()) return {};
    }
    out.parameters[name] = segments[i];
  }
  return out;
}

}  // namespace

Answer<Route> Router::find(std::string_view method, const std::vector<std::string>& segments, std::vector<std::string>& allowed) const {
  std::vector<Match> matches;
  std::size_t closest = 0;
  for (const OperationSpec& operation : document_.operations()) {
    if (auto found = match(operation, segments)) {
      closest = std::max(closest, found->fixed);
      matches.push_back(std::move(*found));
    }
  }
  std::erase_if(matches, [&](const Match& m) { return m.fixed < closest; });
  if (matches.empty()) return refuse(404, "there is no such path");
  const std::string_view wanted = method == "HEAD" ? "GET" : method;
  for (Match& one : matches) {
    if (one.operation->method == wanted) return Route{one.operation, std::move(one.parameters)};
    allowed.push_back(one.operation->method);
    if (one.operation->method == "GET") allowed.emplace_back("HEAD");
  }
  allowed.emplace_back("OPTIONS");
  return refuse(405, "this path does not take that method");
}

}  // namespace nagaya::api
