#include "container/checkpoint/mount_table.hpp"

#include <charconv>

#include "host/fd.hpp"

namespace nagaya::container {
namespace {

std::string_view next_word(std::string_view& line) {
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

/// Blanks, tabs, line ends and backslashes are written in octal.
std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned code = 0;
    const bool octal = text[i] == '\\' && i + 3 < text.size() && std::from_chars(&text[i + 1], &text[i + 4], code, 8).ptr == &text[i] + 4;
    out += octal ? static_cast<char>(code) : text[i];
    if (octal) i += 3;
  }
  return out;
}

int number_after(std::string_view word, std::string_view prefix) {
  int value = 0;
  if (word.starts_with(prefix)) std::from_chars(word.data() + prefix.size(), word.data() + word.size(), value);
  return value;
}

}  // namespace

std::vector<MountLine> parse_mount_table(std::string_view text) {
  std::vector<MountLine> out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    for (int i = 0; i < 4; ++i) next_word(line);
    MountLine item;
    item.point = unescaped(next_word(line));
    next_word(line);  // options of the mount
    while (!line.empty()) {
      const std::string_view word = next_word(line);
      if (word == "-") break;
      if (const int group = number_after(word, "shared:")) item.shared = group;
      if (const int group = number_after(word, "master:")) item.master = group;
    }
    item.type = unescaped(next_word(line));
    if (!item.point.empty() && !item.type.empty()) out.push_back(std::move(item));
  }
  return out;
}

Result<std::vector<MountLine>> mount_table(pid_t pid) {
  const std::string path = "/proc/" + (pid == 0 ? std::string("self") : std::to_string(pid)) + "/mountinfo";
  TRY_ASSIGN(const std::vector<u8> bytes, host::read_file(path, 16u << 20));
  return parse_mount_table({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

bool is_within(std::string_view path, std::string_view folder) {
  if (folder == "/") return path.starts_with('/');
  return path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/');
}

}  // namespace nagaya::container
