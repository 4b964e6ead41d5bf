// A process that leaves the host's namespaces and, once it has opened all it needs, its file system. What a host does not
// allow is told and left out. Sources: Linux namespaces(7), user_namespaces(7), mount_namespaces(7), pivot_root(2), open_tree(2).
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"
#include "host/fd.hpp"

namespace nagaya::host {

/// What a process has left behind.
struct Apart {
  bool mounts = false;   ///< its mounts are its own: it may call enter_empty_root()
  bool network = false;  ///< it has no network but what is open already
  bool others = false;   ///< nor System V objects and names of the host
  std::vector<std::string> missing;  ///< what did not work and why, a line each
};

/// Leaves the namespaces. While the process has one thread. Those without the right to do so get a user namespace of their own in
/// which they are who they are; other users' files show as nobody's there. Paths, devices and open descriptors go on working.
[[nodiscard]] Apart leave_namespaces();

/// A folder that stays reachable in the empty root, read-only: no file there can be changed, but sockets be connected to.
struct KeptFolder {
  std::string path;  ///< where it is
  std::string name;  ///< what it is called below the new root: one name
};

/// From now on all threads see an empty read-only file system, apart from `folders` and, when `descriptors`, the process's own
/// /proc/self/fd. Needs Apart::mounts and the rights that leave_namespaces() left with the calling thread. On error the file
/// system is what it was.
Result<> enter_empty_root(const std::vector<KeptFolder>& folders, bool descriptors);

/// A folder, O_PATH, as a mount of its own with what is mounted below it: there is no way up from it. Where the process may
/// not make mounts it is opened as it is.
Result<Fd> open_folder_apart(const std::string& path);

/// After the second, which is for good, the first is false: whoever watches this process removes its sockets.
[[nodiscard]] bool paths_lead_anywhere();
void give_up_paths();

/// Closes folders that whoever started us left open: they would lead out of any root.
void close_inherited_folders();

}  // namespace nagaya::host
