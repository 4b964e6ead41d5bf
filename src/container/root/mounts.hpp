// The mounts of config.json, one by one.
#pragma once
#include "base/result.hpp"
#include "container/root/mount_options.hpp"
#include "container/root/root.hpp"
#include "host/fd.hpp"

namespace nagaya::container {

/// Mounts `mount` in `root` (the mounted root of the container). `prepared` may hold its detached tree. A tmpfs that is to be read-only
/// stays writable for the mount points in it until all is built: it is added to `read_only_later`.
Result<> make_mount(const RootRequest& request, int root, const Mount& mount, PreparedMount& prepared, std::vector<host::Fd>& read_only_later);
/// Cgroup file systems at `target`: see docs/design/container-root.md for which is mounted when.
Result<> mount_cgroups(const RootRequest& request, int root, const Mount& mount, const MountOptions& options);
/// A detached tmpfs gets what the folder `below` (O_PATH) has: files, folders, links, with owners and modes.
Result<> copy_up(int below, int mount);
/// A user namespace with these maps, as a descriptor for MOUNT_ATTR_IDMAP.
Result<host::Fd> user_namespace(const std::vector<IdMap>& uids, const std::vector<IdMap>& gids);
/// What a bind mount's source is called outside.
std::string bind_source(const RootRequest& request, const Mount& mount);
/// A mount's place, made if missing, by descriptor; a file when `file`. Places below /proc are only those files that containers are
/// given in place of the host's.
Result<host::Fd> mount_place(int root, const Mount& mount, bool file);

}  // namespace nagaya::container
