// Transient scopes of systemd. Its bus is spoken to through `busctl`, systemd's own program, which is on every host
// where systemd runs: libsystemd has no static form, and a runtime that loads it at run time is a dynamic program.
#pragma once
#include <sys/types.h>

#include <string>

#include "base/result.hpp"
#include "cgroup/cgroup.hpp"

namespace nagaya::cgroup {

/// Where the scope of "slice:prefix:name" is, below a mount point.
Result<std::string> scope_folder(const std::string& path);
/// Starts it with the first process and the limits systemd has properties for, and waits until the process is in it.
Result<> start_scope(const std::string& path, const Resources& resources, pid_t first);
/// Stops it; one that is gone already is no error.
void stop_scope(const std::string& path);

}  // namespace nagaya::cgroup
