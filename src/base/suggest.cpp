#include "base/suggest.hpp"

#include <algorithm>
#include <vector>

namespace nagaya {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  // Optimal string alignment; three rows are enough.
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      std::size_t replace = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replace});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

std::string suggestion(std::string_view typed, std::span<const std::string> candidates) {
  std::string best;
  // A third of the letters may be wrong, and at least one; long nonsense suggests nothing.
  std::size_t limit = std::max<std::size_t>(1, typed.size() / 3) + 1;
  if (typed.size() > 64) return {};
  for (const std::string& candidate : candidates) {
    std::size_t distance = edit_distance(typed, candidate);
    // "--mem" for "--memory": a beginning is a near miss, too.
    if (typed.size() >= 3 && candidate.starts_with(typed)) distance = std::min<std::size_t>(distance, 1);
    if (distance < limit) {
      limit = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace nagaya
