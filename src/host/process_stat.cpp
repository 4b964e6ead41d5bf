#include "host/process_stat.hpp"

#include <array>
#include <charconv>

#include "host/fd.hpp"

namespace nagaya::host {

std::optional<ProcessStat> parse_process_stat(std::string_view line) {
  // The name is in parentheses and may have any characters in it, so fields are counted from the last one.
  const std::size_t begin = line.find('('), end = line.rfind(')');
  if (begin == line.npos || end == line.npos || end < begin || end + 2 >= line.size()) return std::nullopt;
  ProcessStat out{.name = std::string(line.substr(begin + 1, end - begin - 1)), .state = line[end + 2]};
  constexpr unsigned state = 3, last = 24;
  std::array<u64, last + 1> fields{};
  std::size_t at = end + 2;
  for (unsigned field = state + 1; field <= last; ++field) {
    at = line.find(' ', at);
    if (at == line.npos) return std::nullopt;
    ++at;
    // Some are negative, none of those wanted.
    std::from_chars(line.data() + at, line.data() + line.size(), fields[field]);
  }
  out.parent = static_cast<pid_t>(fields[4]);
  out.user_ticks = fields[14];
  out.system_ticks = fields[15];
  out.start_ticks = fields[22];
  out.resident_pages = fields[24];
  return out;
}

std::optional<ProcessStat> read_process_stat(pid_t pid) {
  const auto line = read_file("/proc/" + std::to_string(pid) + "/stat", 4096);
  if (!line) return std::nullopt;
  return parse_process_stat({reinterpret_cast<const char*>(line->data()), line->size()});
}

}  // namespace nagaya::host
