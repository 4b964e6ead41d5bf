// User and group numbers this user may give to user namespaces. Source: subuid(5), user_namespaces(7).
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::host {

struct IdRange {
  u32 inside = 0, outside = 0, size = 0;
  bool operator==(const IdRange&) const = default;
};

struct IdRanges {
  std::vector<IdRange> uids, gids;
};

/// Ranges from 0 inside: /etc/subuid and /etc/subgid of the calling user ("nagaya" for root, else a high range that root may take as it
/// likes); for others than root the user itself is root inside.
Result<IdRanges> subordinate_ids();

/// The first range of `name` (or of the number `id`) in a file's text.
IdRange range_in(std::string_view text, std::string_view name, u32 id);

}  // namespace nagaya::host
