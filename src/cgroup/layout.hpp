// How a layout is read from the kernel's two texts: apart from reading them, so that layouts of other hosts can be
// tried.
#pragma once
#include <string_view>

#include "cgroup/cgroup.hpp"

namespace nagaya::cgroup {

/// `mountinfo` as of proc_pid_mountinfo(5), `self` as of cgroups(7) "/proc/pid/cgroup". The controllers of v2 are left
/// empty.
Layout parse_layout(std::string_view mountinfo, std::string_view self);

/// Whether who is in a cgroup namespace on v2 cannot change the limits of its root: the mount option nsdelegate (the kernel's cgroup-v2.rst,
/// "Model of Delegation"). Also where no v2 is mounted.
bool v2_limits_are_kept(std::string_view mountinfo);

/// A group's path made plain: single slashes, none at the end, an absolute one begins with one. Refused: ".." and ".",
/// control characters, a component that v2 would take for a file of its own ("cgroup.…"), an empty path, more than 4000
/// bytes.
Result<std::string> clean_path(std::string_view path);

}  // namespace nagaya::cgroup
