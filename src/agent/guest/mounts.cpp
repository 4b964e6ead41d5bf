#include "agent/guest/mounts.hpp"

#include <sys/mount.h>
#include <sys/stat.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>

namespace nagaya::agent::guest {
namespace {

constexpr std::string_view key = "nagaya.mount=";

std::optional<std::string> plain_text(std::string_view word) {
  std::string out;
  for (std::size_t i = 0; i < word.size(); ++i) {
    if (word[i] != '%') {
      out += word[i];
      continue;
    }
    unsigned value = 0;
    if (i + 2 >= word.size()) return {};
    const auto [end, error] = std::from_chars(word.data() + i + 1, word.data() + i + 3, value, 16);
    if (error != std::errc{} || end != word.data() + i + 3 || value == 0) return {};
    out += static_cast<char>(value);
    i += 2;
  }
  return out;
}

std::optional<Mount> mount_of(std::string_view word) {
  const std::size_t first = word.find(':');
  if (first == std::string_view::npos || first == 0) return {};
  const std::size_t second = word.find(':', first + 1);
  const std::string_view mode = second == std::string_view::npos ? "" : word.substr(second + 1);
  auto place = plain_text(word.substr(first + 1, second == std::string_view::npos ? second : second - first - 1));
  if (!place || !place->starts_with('/') || (second != std::string_view::npos && mode != "ro")) return {};
  return Mount{std::string(word.substr(0, first)), std::move(*place), mode == "ro"};
}

void make_folders(const std::string& path) {
  for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) ::mkdir(path.substr(0, at).c_str(), 0755);
  ::mkdir(path.c_str(), 0755);
}

/// A restarted agent finds them there already. The kernel writes the device, a blank, and the place.
bool mounted(const Mount& mount) {
  std::ifstream table("/proc/self/mounts");
  for (std::string device, place, rest; table >> device >> place && std::getline(table, rest);) {
    if (device == mount.tag && rest.starts_with(" virtiofs ")) return true;
  }
  return false;
}

}  // namespace

std::vector<Mount> mounts_of(std::string_view command_line) {
  std::vector<Mount> out;
  for (std::size_t at = 0; at < command_line.size();) {
    const std::size_t end = std::min(command_line.find_first_of(" \n", at), command_line.size());
    const std::string_view word = command_line.substr(at, end - at);
    if (word.starts_with(key)) {
      if (auto mount = mount_of(word.substr(key.size()))) out.push_back(std::move(*mount));
    }
    at = end + 1;
  }
  return out;
}

void mount_shares() {
  std::ifstream file("/proc/cmdline");
  const std::string line{std::istreambuf_iterator<char>(file), {}};
  for (const Mount& mount : mounts_of(line)) {
    if (mounted(mount)) continue;
    make_folders(mount.place);
    const unsigned long flags = MS_NOSUID | MS_NODEV | (mount.read_only ? MS_RDONLY : 0);
    if (::mount(mount.tag.c_str(), mount.place.c_str(), "virtiofs", flags, nullptr) != 0) {
      std::fprintf(stderr, "nagaya-agent: cannot mount '%s' at '%s': %s\n", mount.tag.c_str(), mount.place.c_str(), std::strerror(errno));
    }
  }
}

}  // namespace nagaya::agent::guest
