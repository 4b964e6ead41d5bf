#include "base/signal_name.hpp"

#include <charconv>
#include <csignal>
#include <cstring>
#include <string_view>

namespace nagaya {
namespace {

constexpr int first_realtime = 34, last = 64;

/// All of the text as a number, or -1.
int number_of(std::string_view text) {
  int out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size() && out >= 0 ? out : -1;
}

}  // namespace

int signal_of_name(const std::string& text) {
  if (const int number = number_of(text); number >= 0) return number <= last ? number : -1;
  std::string upper = text;
  for (char& c : upper) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  std::string_view name = upper;
  if (name.starts_with("SIG")) name.remove_prefix(3);
  for (int candidate = 1; candidate < first_realtime; ++candidate) {
    if (const char* known = ::sigabbrev_np(candidate); known != nullptr && name == known) return candidate;
  }
  const bool from_end = name.starts_with("RTMAX");
  if (!from_end && !name.starts_with("RTMIN")) return -1;
  name.remove_prefix(5);
  int offset = 0;
  if (!name.empty()) {
    if (name[0] != (from_end ? '-' : '+')) return -1;
    offset = number_of(name.substr(1));
    if (offset < 0) return -1;
  }
  const int value = from_end ? last - offset : first_realtime + offset;
  return value >= first_realtime && value <= last ? value : -1;
}

}  // namespace nagaya
