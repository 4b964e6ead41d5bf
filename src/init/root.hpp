// From the RAM disk to the root file system on a disk.
#pragma once
#include "base/result.hpp"
#include "init/command_line.hpp"

namespace nagaya::init {

/// /dev, /proc and /sys.
[[nodiscard]] Result<> mount_basics();
/// Waits for the disk and mounts it at /root-disk.
[[nodiscard]] Result<> mount_root(const RootOptions& options);
/// The disk becomes "/", with /dev, /proc and /sys; what is in the RAM disk is freed.
[[nodiscard]] Result<> enter_root();

}  // namespace nagaya::init
