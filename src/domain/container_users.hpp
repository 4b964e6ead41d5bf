// User and group numbers of a container alone (--userns auto of root): ranges of those that /etc/subuid and /etc/subgid give to "containers" or
// "nagaya", 65536 for each container, from when it is first started until it is removed.
#pragma once
#include <vector>

#include "base/result.hpp"
#include "container/spec/spec.hpp"
#include "domain/container_store.hpp"

namespace nagaya::domain {

struct ContainerUsers {
  u32 first_uid = 0, first_gid = 0;  ///< what 0 inside is outside
  bool operator==(const ContainerUsers&) const = default;
  [[nodiscard]] std::vector<container::IdMap> uid_maps() const;
  [[nodiscard]] std::vector<container::IdMap> gid_maps() const;
};

/// Whether this definition wants them, and this user can give them: others than root have a user namespace of all their numbers anyway.
[[nodiscard]] bool has_own_users(const ContainerDefinition& definition);
/// Those that it has; else the first that no container of this state folder has, written into its folder. Errors say what is missing.
[[nodiscard]] Result<ContainerUsers> container_users(const Container& container);

/// The calling process (one thread) becomes root of a user namespace of theirs, for good.
Result<> become_own_root(const Container& container);

}  // namespace nagaya::domain
