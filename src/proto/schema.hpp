// A strict validator for the part of JSON Schema (2020-12) that our schemas use: of the API's requests and of definitions. What it does not
// understand is an error when a schema is read, never a check that is left out silently.
#pragma once
#include <expected>
#include <nlohmann/json.hpp>
#include <string>

#include "base/result.hpp"

namespace nagaya::proto {

/// Follows "$ref" (within `root`) until there is none; throws when it leads nowhere.
[[nodiscard]] const nlohmann::json& resolve(const nlohmann::json& root, const nlohmann::json& node);

/// Error: the schema uses a keyword, type or format that `validate` does not understand.
[[nodiscard]] Result<> check_schema(const nlohmann::json& root, const nlohmann::json& schema, const std::string& where);

/// The first thing that is wrong with a value.
struct SchemaFault {
  std::string field;   ///< "limits.memory", "env[3]"; empty: the value itself
  std::string detail;
  std::string hint{};  ///< the nearest known name of an unknown field
};
using Checked = std::expected<void, SchemaFault>;

/// Strings must not hold NUL, which would end them early where they go on to.
[[nodiscard]] Checked validate(const nlohmann::json& root, const nlohmann::json& schema, const nlohmann::json& value, const std::string& field = {});

}  // namespace nagaya::proto
