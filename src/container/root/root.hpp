// The container's file tree: what config.json says about the root, mounts, devices and hidden paths, done inside a new mount
// namespace. Every destination is resolved beneath the root by openat2 with RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS, and mounted by
// descriptor, so that no symbolic link of an image (or of a racing process) leads outside. Source: OCI Runtime Specification 1.1
// config.md "Mounts", config-linux.md; bad links: CVE-2019-16884, CVE-2021-30465, CVE-2023-27561, CVE-2024-21626, CVE-2025-31133.
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"
#include "container/spec/spec.hpp"
#include "host/fd.hpp"

namespace nagaya::container {

/// What a mount that needs the outside's rights or paths becomes before the container's own namespaces are entered: a detached mount
/// (open_tree with OPEN_TREE_CLONE, idmapped when asked).
struct PreparedMount {
  host::Fd tree;         ///< empty: made inside
  std::string problem;   ///< why it could not be prepared; told if it cannot be made inside either
};

struct RootRequest {
  const Spec* spec = nullptr;
  std::string bundle;       ///< absolute; relative sources and roots start here
  bool new_mount_namespace = true;
  bool new_user_namespace = false;
  bool new_cgroup_namespace = false;
  bool no_pivot = false;    ///< MS_MOVE and chroot: for a root on a RAM disk
  /// Folders of the container's cgroup by controller name, for mounts of type "cgroup": {controller list, absolute folder, v2}.
  struct CgroupFolder {
    std::string controllers, folder;
    bool v2 = false;
  };
  std::vector<CgroupFolder> cgroups;
};

/// Outside, before namespaces: opens sources that are relative to the outside, makes idmapped clones.
Result<std::vector<PreparedMount>> prepare_mounts(const RootRequest& request);
/// Inside the new mount namespace: makes the propagation, root, mounts, devices, /dev links. The root is not entered yet, so that
/// createContainer hooks see both sides. Returns the root's descriptor.
Result<host::Fd> build_root(const RootRequest& request, std::vector<PreparedMount>& prepared);
/// pivot_root (or chroot), then read-only paths, masked paths and the root's own read-only flag. The caller's working directory is "/".
Result<> enter_root(const RootRequest& request, const host::Fd& root);
/// Binds the terminal's slave on /dev/console, by descriptor; called after enter_root.
Result<> bind_console(int slave);

/// Opens `path` inside `root`, however its links lie (RESOLVE_IN_ROOT); with `make`, missing folders are made (mode 0755), and with
/// `make_file` the last part becomes an empty file.
Result<host::Fd> open_in_root(int root, const std::string& path, bool make, bool make_file);

}  // namespace nagaya::container
