#include "api/message.hpp"

#include <algorithm>

namespace nagaya::api {

std::optional<std::string> Head::find(std::string_view name) const {
  std::optional<std::string> out;
  for (const auto& [key, value] : headers) {
    if (key != name) continue;
    out = out ? *out + ", " + value : value;
  }
  return out;
}

std::size_t Head::count(std::string_view name) const {
  return static_cast<std::size_t>(std::ranges::count_if(headers, [&](const auto& one) { return one.first == name; }));
}

Reply json_reply(const Json& value, unsigned status) {
  // What guests and files give is not always UTF-8.
  return {.status = status, .type = "application/json", .body = value.dump(-1, ' ', false, Json::error_handler_t::replace)};
}

Reply problem_reply(const Problem& problem, Headers headers) {
  Reply out{.status = problem.status, .type = "application/problem+json", .headers = std::move(headers)};
  out.body = to_json(problem).dump(-1, ' ', false, Json::error_handler_t::replace);
  if (problem.retry_after != 0) out.headers.emplace_back("Retry-After", std::to_string(problem.retry_after));
  return out;
}

}  // namespace nagaya::api
