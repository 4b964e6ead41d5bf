// Paths the container may not read, or not write.
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"
#include "container/spec/spec.hpp"
#include "host/fd.hpp"

namespace nagaya::container {

/// Finds such paths in a root whose folders somebody may be renaming: what lies below /proc and /sys is looked for from the kernel's own file
/// systems there, so that a path is missing only when the kernel has no such file (CVE-2023-27561).
class HiddenPlaces {
 public:
  /// Fails when the configuration has a procfs or sysfs mounted and something else is there.
  static Result<HiddenPlaces> make(int root, const std::vector<Mount>& mounts);
  [[nodiscard]] Result<host::Fd> find(const std::string& path) const;
  [[nodiscard]] int root() const { return root_; }

 private:
  int root_ = -1;
  host::Fd proc_, sys_;
};

/// Each path that is there becomes a read-only mount of itself, with all below it.
Result<> protect_paths(const HiddenPlaces& places, const std::vector<std::string>& paths);
/// Each path that is there is covered: a folder by an empty read-only tmpfs, anything else by /dev/null.
Result<> mask_paths(const HiddenPlaces& places, const std::vector<std::string>& paths);
/// For a root that is moved instead of pivoted to: the host's mounts stay in the namespace, out of sight. A full procfs or sysfs among them
/// would let a process inside mount another one without the masks, so all of these outside of `root` go, or are covered.
Result<> hide_kernel_mounts(int root);

}  // namespace nagaya::container
