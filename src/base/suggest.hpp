// "Did you mean …?"
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace nagaya {

/// How many insertions, deletions, replacements and swaps of neighbours turn one word into the other.
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

/// The candidate that `typed` most likely stands for, or "" when none is near.
[[nodiscard]] std::string suggestion(std::string_view typed, std::span<const std::string> candidates);

}  // namespace nagaya
