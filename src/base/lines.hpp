#pragma once
#include <string_view>

namespace nagaya {

/// Calls `each` with every line of `text`, without its end.
template <class F>
void for_lines(std::string_view text, F&& each) {
  while (!text.empty()) {
    const auto end = text.find('\n');
    each(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  }
}

}  // namespace nagaya
