// Rows of text in the formats of -f: table, json, yaml, csv.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace nagaya::cli {

struct Table {
  std::vector<std::string> columns;            ///< names, lower case; headings of a table are upper case
  std::vector<std::vector<std::string>> rows;  ///< each as long as `columns`
};

/// Names of the formats, the default first.
[[nodiscard]] const std::vector<std::string>& table_formats();

/// `format` is one of table_formats() or "".
[[nodiscard]] std::string render(const Table& table, std::string_view format);

}  // namespace nagaya::cli
