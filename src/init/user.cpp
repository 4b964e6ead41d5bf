#include "init/user.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

namespace nagaya::init {
namespace {

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> out;
  for (std::size_t start = 0; start <= text.size();) {
    const std::size_t end = std::min(text.find(at, start), text.size());
    out.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return out;
}

std::optional<u32> number(std::string_view text) {
  u32 value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc{} || end != text.data() + text.size() || value == ~u32{0}) return std::nullopt;
  return value;
}

}  // namespace

Result<Identity> identity_of(std::string_view user, std::string_view passwd, std::string_view group) {
  const std::size_t colon = user.find(':');
  const std::string_view name = user.substr(0, colon);
  const std::string_view group_name = colon == std::string_view::npos ? "" : user.substr(colon + 1);
  Identity out;
  std::string_view login;
  const std::optional<u32> id = name.empty() ? 0 : number(name);
  bool known = false;
  for (const bool by_name : {true, false}) {
    for (const std::string_view line : split(passwd, '\n')) {
      const auto fields = split(line, ':');  // name:password:uid:gid:comment:home:shell
      if (known || fields.size() < 6) continue;
      const auto uid = number(fields[2]), gid = number(fields[3]);
      if (!uid || !gid || (by_name ? fields[0] != name || name.empty() : !id || *uid != *id)) continue;
      out = {.uid = *uid, .gid = *gid, .groups = {}, .home = fields[5].empty() ? "/" : std::string(fields[5])};
      login = fields[0];
      known = true;
    }
  }
  if (!known) {
    if (!id) return fail("user '" + std::string(name) + "'", "the image has none of that name");
    out.uid = *id;
  }
  std::optional<u32> gid = number(group_name);
  bool group_known = false;
  for (const std::string_view line : split(group, '\n')) {
    const auto fields = split(line, ':');  // name:password:gid:members
    if (fields.size() < 4) continue;
    const auto its = number(fields[2]);
    if (!its) continue;
    if (!group_name.empty() && fields[0] == group_name) {
      gid = its;
      group_known = true;
    }
    // A group that is named replaces all others.
    if (group_name.empty() && !login.empty() && out.groups.size() < 1024 && std::ranges::count(split(fields[3], ','), login) != 0) out.groups.push_back(*its);
  }
  if (!group_name.empty()) {
    if (!gid && !group_known) return fail("group '" + std::string(group_name) + "'", "the image has none of that name");
    out.gid = *gid;
  }
  return out;
}

}  // namespace nagaya::init
