// The command line, from a small table per command: start-up counts here, so no parser is built at run time.
#pragma once
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.hpp"

namespace nagaya::oci {

struct Option {
  const char* name;  ///< without dashes
  char letter = 0;
  bool value = false;
};

class Parsed {
 public:
  /// Reads options and arguments. `in_order`: everything from the first argument on is one (a command inside a command
  /// line).
  static Result<Parsed> read(std::span<char* const> words, std::span<const Option> table, bool in_order);

  [[nodiscard]] bool has(std::string_view name) const;
  /// The last value given, or `fallback`.
  [[nodiscard]] std::string get(std::string_view name, std::string_view fallback = {}) const;
  [[nodiscard]] std::vector<std::string> all(std::string_view name) const;
  [[nodiscard]] Result<int> number(std::string_view name, int fallback) const;

  std::vector<std::string> arguments;
  std::size_t rest = 0;  ///< index of the first argument in `words` (in_order)

 private:
  std::vector<std::pair<std::string_view, std::string>> found_;
};

}  // namespace nagaya::oci
