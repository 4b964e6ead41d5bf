#include "domain/container_users.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/file.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <iterator>
#include <optional>
#include <set>

#include "container/id_map.hpp"
#include "container/root/mounts.hpp"
#include "host/id_ranges.hpp"

namespace nagaya::domain {
namespace {

namespace fs = std::filesystem;

constexpr u32 block = 65536;  // what images use
constexpr u32 most_blocks = 65535;

std::string file_of(const std::string& folder) { return folder + "/users"; }

std::string text_of(const std::string& path, std::size_t most) {
  const auto bytes = host::read_file(path, most);
  return bytes ? std::string(bytes->begin(), bytes->end()) : std::string();
}

/// "UID GID"; nothing: it is not ours.
std::optional<ContainerUsers> parse(std::string_view text) {
  ContainerUsers out;
  const char* const end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, out.first_uid);
  if (first.ec != std::errc{} || first.ptr == end || *first.ptr != ' ') return std::nullopt;
  const auto second = std::from_chars(first.ptr + 1, end, out.first_gid);
  if (second.ec != std::errc{} || out.first_uid == 0 || out.first_gid == 0) return std::nullopt;
  return out;
}

host::IdRange given(const char* file) {
  const std::string text = text_of(file, MiB);
  for (const char* name : {"containers", "nagaya"}) {
    // A number that no user has: only the name counts.
    if (const host::IdRange range = host::range_in(text, name, ~u32{0}); range.size >= block) return range;
  }
  return {};
}

}  // namespace

std::vector<container::IdMap> ContainerUsers::uid_maps() const { return {{0, first_uid, block}}; }
std::vector<container::IdMap> ContainerUsers::gid_maps() const { return {{0, first_gid, block}}; }

bool has_own_users(const ContainerDefinition& definition) { return definition.userns == "auto" && !container::rootless(); }

Result<ContainerUsers> container_users(const Container& container) {
  const std::string own = file_of(container.places.folder);
  const std::string domains = fs::path(container.places.folder).parent_path().string();
  TRY_ASSIGN(const host::Fd lock, host::Fd::open(domains + "/.users", O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  if (::flock(lock.get(), LOCK_EX) != 0) return fail_errno("cannot lock the users of containers");
  if (const auto kept = parse(text_of(own, 64))) return *kept;
  const host::IdRange uids = given("/etc/subuid"), gids = given("/etc/subgid");
  if (uids.size == 0 || gids.size == 0 || uids.outside == 0 || gids.outside == 0) {
    return fail("user namespace 'auto'", fmt::format("{} has no range of {} numbers for 'containers' or 'nagaya'", uids.size == 0 ? "/etc/subuid" : "/etc/subgid", block),
                "echo containers:2147483648:16777216 | tee -a /etc/subuid /etc/subgid");
  }
  std::set<u32> taken_uids, taken_gids;
  std::error_code error;
  for (fs::directory_iterator it(domains, error), end; !error && it != end; it.increment(error)) {
    // Also of those that are just being removed: their files are still theirs.
    if (const auto other = parse(text_of(file_of(it->path().string()), 64))) {
      taken_uids.insert(other->first_uid);
      taken_gids.insert(other->first_gid);
    }
  }
  if (error) return fail_errno(fmt::format("cannot read the folder '{}'", domains), error.value());
  // Whoever changed the ranges since may have left containers across our blocks: any overlap counts.
  const auto overlaps = [](const std::set<u32>& taken, u32 first) {
    const auto next = taken.lower_bound(first);
    return (next != taken.end() && *next - first < block) || (next != taken.begin() && first - *std::prev(next) < block);
  };
  const u32 blocks = std::min({uids.size / block, gids.size / block, most_blocks});
  for (u32 i = 0; i < blocks; ++i) {
    const u64 uid = u64{uids.outside} + u64{i} * block, gid = u64{gids.outside} + u64{i} * block;
    constexpr u64 end_of_numbers = ~u32{0};
    if (uid + block > end_of_numbers || gid + block > end_of_numbers) break;
    const ContainerUsers out{static_cast<u32>(uid), static_cast<u32>(gid)};
    if (overlaps(taken_uids, out.first_uid) || overlaps(taken_gids, out.first_gid)) continue;
    const std::string text = fmt::format("{} {}\n", out.first_uid, out.first_gid);
    TRY(host::replace_file(own, std::span(reinterpret_cast<const u8*>(text.data()), text.size())));
    return out;
  }
  return fail("user namespace 'auto'", "all ranges of users are given to containers", "remove containers, or give more numbers in /etc/subuid and /etc/subgid");
}

Result<> become_own_root(const Container& container) {
  TRY_ASSIGN(const ContainerUsers users, container_users(container));
  TRY_ASSIGN(const host::Fd space, container::user_namespace(users.uid_maps(), users.gid_maps()));
  if (::setns(space.get(), CLONE_NEWUSER) != 0) return fail_errno("cannot join the container's user namespace");
  return container::become_namespace_root();
}

}  // namespace nagaya::domain
