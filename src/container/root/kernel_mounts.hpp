// The kernel's mount calls by descriptor, with errors that say what the file system itself said.
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"
#include "host/fd.hpp"

namespace nagaya::container {

/// A detached copy of the mount at `path` (below `at`; an empty path: `at` itself). open_tree(2) with OPEN_TREE_CLONE.
Result<host::Fd> clone_tree(int at, const std::string& path, bool recursive, bool follow = true);
/// A detached new file system: fsopen, its options, fsmount with `attributes`.
Result<host::Fd> new_mount(const std::string& type, const std::string& source, const std::vector<std::string>& options, u64 attributes);
/// mount_setattr(2) on a mount's root. A refused `clear` of what the owner of the mount has locked (EPERM in a user namespace) leaves
/// it as it was.
Result<> set_attributes(int mount, u64 set, u64 clear, bool recursive);
/// One of MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE, with MS_REC for all below.
Result<> set_propagation(int mount, u64 flags);
/// Puts a detached mount on what `target` (O_PATH) is.
Result<> attach(int mount, int target);

}  // namespace nagaya::container
