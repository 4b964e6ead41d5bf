#include "proto/text.hpp"

#include <fmt/format.h>

#include <chrono>
#include <ctime>

namespace nagaya::proto {

std::size_t characters(std::string_view utf8) {
  std::size_t n = 0;
  for (const char c : utf8) n += (static_cast<u8>(c) & 0xC0) != 0x80;
  return n;
}

// The Unicode Standard 15, table 3-7.
bool valid_utf8(std::string_view text) {
  const auto at = [&](std::size_t i) { return i < text.size() ? static_cast<u8>(text[i]) : u8{0}; };
  const auto follows = [&](std::size_t i) { return (at(i) & 0xC0) == 0x80; };
  for (std::size_t i = 0; i < text.size();) {
    const u8 c = at(i), next = at(i + 1);
    if (c < 0x80) {
      i += 1;
    } else if (c >= 0xC2 && c <= 0xDF && follows(i + 1)) {
      i += 2;
    } else if (c >= 0xE0 && c <= 0xEF && follows(i + 1) && follows(i + 2) && !(c == 0xE0 && next < 0xA0) && !(c == 0xED && next > 0x9F)) {
      i += 3;
    } else if (c >= 0xF0 && c <= 0xF4 && follows(i + 1) && follows(i + 2) && follows(i + 3) && !(c == 0xF0 && next < 0x90) &&
               !(c == 0xF4 && next > 0x8F)) {
      i += 4;
    } else {
      return false;
    }
  }
  return true;
}

std::string printable(std::string_view text, std::size_t most) {
  std::string out(text.substr(0, most));
  for (char& c : out) {
    if (static_cast<u8>(c) < 0x20 || static_cast<u8>(c) > 0x7E) c = '?';
  }
  if (text.size() > most) out += "...";
  return out;
}

std::string time_text(i64 seconds) {
  const std::time_t time = seconds;
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::string now_text() { return time_text(std::time(nullptr)); }

std::optional<i64> parse_time(std::string_view text) {
  const auto digits = [&](std::size_t at, std::size_t n) -> int {
    int out = 0;
    for (std::size_t i = at; i < at + n; i++) {
      if (i >= text.size() || text[i] < '0' || text[i] > '9') return -1;
      out = out * 10 + (text[i] - '0');
    }
    return out;
  };
  if (text.size() < 20 || text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't') || text[13] != ':' || text[16] != ':') return {};
  const int year = digits(0, 4), month = digits(5, 2), day = digits(8, 2), hour = digits(11, 2), minute = digits(14, 2), second = digits(17, 2);
  if (year < 0 || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) return {};
  if (month < 1 || day < 1) return {};
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)), std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return {};
  std::size_t at = 19;
  if (text[at] == '.') {
    for (at++; at < text.size() && text[at] >= '0' && text[at] <= '9';) at++;
    if (at == 20) return {};
  }
  int offset = 0;
  if (at + 1 == text.size() && (text[at] == 'Z' || text[at] == 'z')) {
    offset = 0;
  } else if (at + 6 == text.size() && (text[at] == '+' || text[at] == '-') && text[at + 3] == ':') {
    const int hours = digits(at + 1, 2), minutes = digits(at + 4, 2);
    if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return {};
    offset = (hours * 60 + minutes) * (text[at] == '+' ? 1 : -1);
  } else {
    return {};
  }
  const i64 days = std::chrono::sys_days(date).time_since_epoch().count();
  return days * 86400 + hour * 3600 + minute * 60 + second - offset * 60;
}

}  // namespace nagaya::proto
