// User and group number maps of a new user namespace: written directly, or by newuidmap and newgidmap where the caller
// may not.
#pragma once
#include <sys/types.h>

#include <vector>

#include "base/result.hpp"
#include "container/spec/spec.hpp"

namespace nagaya::container {

/// Maps of the user namespace that `pid` is in (user_namespaces(7)).
Result<> write_id_maps(pid_t pid, const std::vector<IdMap>& uids, const std::vector<IdMap>& gids);
/// In the new user namespace, after its maps are written: becomes its root.
Result<> become_namespace_root();
/// This process is neither root of the host nor has its rights: no root, or root of a user namespace.
bool rootless();

}  // namespace nagaya::container
