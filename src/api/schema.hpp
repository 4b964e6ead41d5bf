// A strict validator for the part of JSON Schema (2020-12) that the API's document uses. What it does not understand is an
// error when the server starts, never a check that is left out silently.
#pragma once
#include <string>
#include <string_view>

#include "api/document.hpp"

namespace nagaya::api {

/// Nesting of a JSON text, and values in it, that are read at most.
inline constexpr unsigned deepest_json = 32, most_json_values = 200'000;

/// Error: the schema uses a keyword, type or format that `validate` does not understand.
[[nodiscard]] Result<> check_schema(const Document& document, const Json& schema, const std::string& where);

/// Status 400 with the place of the first fault in `field` ("limits.memory", "env[3]"). Strings must not hold NUL, which would end
/// them early where they go on to.
[[nodiscard]] Answer<> validate(const Document& document, const Json& schema, const Json& value, const std::string& field = {});

/// A parameter's words (one for each time it was given) as the value its schema speaks of, validated.
[[nodiscard]] Answer<Json> read_parameter(const Document& document, const Parameter& parameter, const std::vector<std::string>& words);

/// JSON from a stranger: bounded in depth and number of values, valid UTF-8, no key twice.
[[nodiscard]] Answer<Json> read_json(std::string_view text);

}  // namespace nagaya::api
