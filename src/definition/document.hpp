// Definitions as `nagaya apply` takes them: documents of four kinds, checked against the schema that 'nagaya schema' prints.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "definition/yaml.hpp"

namespace nagaya::definition {

/// The published schema (JSON Schema 2020-12), as it was compiled in.
[[nodiscard]] std::string_view schema_text();

/// Error: the path of the first fault, and the nearest known name of a field that there is none of. Numbers written as texts ("512M")
/// are numbers afterwards.
[[nodiscard]] Result<> check(Json& document);
/// All documents of a text in one go: networks and volumes first, then domains, each in the order of the text. No two of one kind and name.
[[nodiscard]] Result<std::vector<Json>> read_documents(std::string_view text, const std::string& where);
/// Those of a list that may come from several files, ordered and unique.
[[nodiscard]] Result<> arrange(std::vector<Json>& documents);

/// "container/web", "network/lab".
[[nodiscard]] std::string title(const Json& document);
[[nodiscard]] bool is_domain(const Json& document);

}  // namespace nagaya::definition
