// What went wrong, as a caller is told it (RFC 9457, "Problem Details for HTTP APIs").
#pragma once
#include <expected>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace nagaya::api {

using Json = nlohmann::json;

struct Problem {
  unsigned status = 500;
  std::string detail{};
  std::string field{};  ///< place in the request: "limits.memory"
  std::string hint{};
  unsigned retry_after = 0;  ///< seconds; 0: not said
};

template <class T = void>
using Answer = std::expected<T, Problem>;

[[nodiscard]] std::unexpected<Problem> refuse(unsigned status, std::string detail, std::string field = {}, std::string hint = {});
/// The reason phrase of a status (RFC 9110, chapter 15).
[[nodiscard]] std::string_view reason_of(unsigned status);
/// An error of the library: its errno gives the status (ENOENT 404, EEXIST and EBUSY 409, EINVAL 422 …), else 500.
[[nodiscard]] Problem problem_of(const Error& error);
[[nodiscard]] Json to_json(const Problem& problem);

template <class T>
[[nodiscard]] Answer<T> answer_of(Result<T> result) {
  if (!result) return std::unexpected(problem_of(result.error()));
  if constexpr (std::is_void_v<T>) {
    return {};
  } else {
    return std::move(*result);
  }
}

}  // namespace nagaya::api
