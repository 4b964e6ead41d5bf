// /proc/PID/mountinfo. Source: proc(5), Linux Documentation/filesystems/proc.rst 3.5.
#pragma once
#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace nagaya::container {

struct MountLine {
  std::string point;  ///< where it is, as the process sees it
  std::string type;   ///< "overlay"
  int shared = 0, master = 0;  ///< peer groups; 0: none
};

std::vector<MountLine> parse_mount_table(std::string_view text);
/// 0: the caller's own.
Result<std::vector<MountLine>> mount_table(pid_t pid);

/// `path` is `folder` or below it.
bool is_within(std::string_view path, std::string_view folder);

}  // namespace nagaya::container
