// Making and removing a group's folders.
#pragma once
#include "base/scope.hpp"
#include "cgroup/cgroup.hpp"
#include "cgroup/settings.hpp"

namespace nagaya::cgroup {

/// mkdir with the folders above it, each of them undone by `undo`. An existing folder is no error.
Result<> make_folder(const Group::Part& part, Undo& undo);
/// A group of the v1 cpuset takes no process before it has CPUs and memory nodes: those of the group above, where it
/// has none.
Result<> inherit_cpuset(const std::string& folder, std::size_t mount_point);
/// Lets the groups above hand controllers down to a v2 group. What a group above may not be asked (delegation) is left
/// as it is.
Result<> enable_controllers(const Group::Part& part);
/// Removes a folder and the folders below it; EBUSY while processes are in one.
int remove_folder(const std::string& folder);
/// Names of the folders in one.
std::vector<std::string> folders_in(const std::string& folder);
/// Whether systemd runs here as the first process (sd_booted(3)).
bool systemd_runs();

}  // namespace nagaya::cgroup
