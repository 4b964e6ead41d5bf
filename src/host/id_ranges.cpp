#include "host/id_ranges.hpp"

#include <pwd.h>
#include <unistd.h>

#include <array>
#include <charconv>

#include "host/fd.hpp"

namespace nagaya::host {
namespace {

// Where nobody else's ranges begin on usual systems; 65536 numbers are what images use.
constexpr u32 usual_base = 0x7000'0000, usual_size = 65536;

bool number(std::string_view text, u32& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

std::string text_of(const char* path) {
  const auto bytes = read_file(path, MiB);
  return bytes ? std::string(bytes->begin(), bytes->end()) : std::string();
}

std::string user_name(uid_t uid) {
  std::array<char, 4096> buffer;
  passwd entry{};
  passwd* found = nullptr;
  return ::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr ? entry.pw_name : "";
}

}  // namespace

IdRange range_in(std::string_view text, std::string_view name, u32 id) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    at = end + 1;
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view owner = line.substr(0, first);
    IdRange out;
    if (owner != name && owner != std::to_string(id)) continue;
    if (number(line.substr(first + 1, second - first - 1), out.outside) && number(line.substr(second + 1), out.size) && out.size != 0) return out;
  }
  return {};
}

Result<IdRanges> subordinate_ids() {
  const uid_t uid = ::geteuid();
  const std::string name = uid == 0 ? "nagaya" : user_name(uid);
  IdRange uids = range_in(text_of("/etc/subuid"), name, uid), gids = range_in(text_of("/etc/subgid"), name, uid);
  if (uid == 0) {
    if (uids.size == 0) uids = {0, usual_base, usual_size};
    if (gids.size == 0) gids = {0, usual_base, usual_size};
    return IdRanges{{uids}, {gids}};
  }
  IdRanges out{{{0, uid, 1}}, {{0, ::getegid(), 1}}};
  // Without ranges of its own a user has itself alone: enough for images whose files are all root's.
  if (uids.size != 0) out.uids.push_back({1, uids.outside, uids.size});
  if (gids.size != 0) out.gids.push_back({1, gids.outside, gids.size});
  return out;
}

}  // namespace nagaya::host
