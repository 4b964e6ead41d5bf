// YAML and JSON from strangers as JSON values: bounded in size, depth and number of values, aliases counted as what they stand for.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::definition {

using Json = nlohmann::json;

inline constexpr std::size_t longest_text = 2 * MiB, most_text = 16 * MiB;  ///< of a file; of all its strings with aliases followed
inline constexpr std::size_t most_values = 100'000, deepest = 32, most_documents = 1000;

/// The documents of a YAML stream (YAML 1.2, core schema); empty ones are left out. A JSON text is a YAML stream, too; a list at the top is a
/// list of documents. Refused: keys twice in one map or that are no strings, tags other than the core ones.
[[nodiscard]] Result<std::vector<Json>> read_yaml(std::string_view text);

/// The value as YAML; the keys of a definition in the order that people expect.
[[nodiscard]] std::string write_yaml(const Json& value);

}  // namespace nagaya::definition
