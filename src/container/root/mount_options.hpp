// Mount options of config.json as the kernel's mount attributes. Source: OCI Runtime Specification 1.1 config.md "Linux mount options",
// mount_setattr(2).
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"
#include "container/spec/spec.hpp"

namespace nagaya::container {

struct MountOptions {
  u64 set = 0, clear = 0;                      ///< MOUNT_ATTR_… of the mount itself
  u64 set_recursive = 0, clear_recursive = 0;  ///< of it and all mounts below (rro …)
  std::vector<u64> propagation;                ///< MS_SHARED … in the order given, MS_REC added for the r-forms
  bool bind = false, recursive = false;
  bool remount = false;  ///< attributes of what is mounted there already
  bool copy_up = false;  ///< a tmpfs that begins with what lies below it
  bool idmap = false, idmap_recursive = false;
  std::vector<std::string> data;  ///< the file system's own: "size=64k", "lazytime"

  [[nodiscard]] bool read_only() const { return ((set | set_recursive) & 1) != 0; }
  /// Whether the file system's own options have `name` ("mode", of "mode=755").
  [[nodiscard]] bool has(std::string_view name) const;
};

[[nodiscard]] MountOptions parse_mount_options(const Mount& mount);

/// MS_… of a rootfsPropagation or an option ("rslave"); 0 when it is none.
[[nodiscard]] u64 propagation_flags(std::string_view name);

}  // namespace nagaya::container
