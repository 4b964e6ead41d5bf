#include "agent/guest/user.hpp"

#include <fcntl.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "host/fd.hpp"

namespace nagaya::agent::guest {
namespace {

using Fields = std::vector<std::string_view>;

Fields split(std::string_view line, char mark) {
  Fields out;
  while (true) {
    const std::size_t at = line.find(mark);
    out.push_back(line.substr(0, at));
    if (at == std::string_view::npos) return out;
    line.remove_prefix(at + 1);
  }
}

std::optional<unsigned> number(std::string_view text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size() || value == ~0u) return {};
  return value;
}

/// The file's lines as fields; none when it is not there.
std::vector<std::vector<std::string>> table(const std::string& path, std::size_t least) {
  std::vector<std::vector<std::string>> out;
  auto bytes = host::read_file(path, 4 * MiB);
  if (!bytes) return out;
  for (const std::string_view line : split({reinterpret_cast<const char*>(bytes->data()), bytes->size()}, '\n')) {
    const Fields fields = split(line, ':');
    if (fields.size() >= least && !fields[0].empty()) out.emplace_back(fields.begin(), fields.end());
  }
  return out;
}

}  // namespace

Result<User> find_user(const std::string& text, const std::string& root) {
  User user;
  const std::string name = text.empty() ? "0" : text.substr(0, text.find(':'));
  const std::string group = text.find(':') == std::string::npos ? "" : text.substr(text.find(':') + 1);
  const auto wanted = number(name);
  bool found = false;
  for (const auto& row : table(root + "etc/passwd", 7)) {
    const auto uid = number(row[2]), gid = number(row[3]);
    if (!uid || !gid || (wanted ? *uid != *wanted : row[0] != name)) continue;
    user = {*uid, *gid, row[0], row[5].empty() ? "/" : row[5], row[6].empty() ? "/bin/sh" : row[6], {}};
    found = true;
    break;
  }
  if (!found) {
    if (!wanted) return fail("no user '" + name + "' in the guest");
    user.uid = *wanted;
    user.gid = *wanted == 0 ? 0 : *wanted;
    if (*wanted != 0) user.name = name;
  }
  const auto groups = table(root + "etc/group", 4);
  if (!group.empty()) {
    auto gid = number(group);
    for (const auto& row : groups) {
      if (!gid && row[0] == group) gid = number(row[2]);
    }
    if (!gid) return fail("no group '" + group + "' in the guest");
    user.gid = *gid;
  }
  user.groups = {user.gid};
  if (found) {
    for (const auto& row : groups) {
      const auto members = split(row[3], ',');
      if (const auto gid = number(row[2]); gid && std::ranges::find(members, user.name) != members.end()) user.groups.push_back(*gid);
    }
  }
  return user;
}

}  // namespace nagaya::agent::guest
