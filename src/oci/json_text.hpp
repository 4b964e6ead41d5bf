// JSON written by hand where its shape is small and fixed.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace nagaya::oci {

/// A string in quotes.
std::string quoted(std::string_view text);
/// ["a","b"]
std::string quoted_list(const std::vector<std::string>& texts);

}  // namespace nagaya::oci
