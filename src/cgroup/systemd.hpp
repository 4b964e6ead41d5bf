// Transient scopes of systemd. Its bus is spoken to through `busctl`, systemd's own program, which is on every host
// where systemd runs: libsystemd has no static form, and a runtime that loads it at run time is a dynamic program.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "base/result.hpp"
#include "cgroup/cgroup.hpp"

namespace nagaya::cgroup {

/// "slice:prefix:name" taken apart.
struct Scope {
  std::string slice;   ///< "machine.slice"
  std::string unit;    ///< "prefix-name.scope"
  std::string folder;  ///< below the slice's manager: "/machine.slice/prefix-name.scope"
};
/// An empty slice is system.slice, of a user user.slice. "a-b.slice" is in a.slice (systemd.slice(5)).
Result<Scope> parse_scope(const std::string& path, bool user);

/// What StartTransientUnit is given, as busctl takes it: systemd.resource-control(5)'s limits by their names on its bus
/// (org.freedesktop.systemd1(5)). `v2`: whether the host's controllers are v2's.
Result<std::vector<std::string>> scope_properties(const Scope& scope, const Resources& resources, pid_t first, bool v2);

/// Where the scope is below a mount point. An error when systemd does not run here.
Result<std::string> scope_folder(const Layout& layout, const std::string& path);
/// Starts it with the first process and the limits systemd has properties for, and waits until the process is in it.
Result<> start_scope(const Layout& layout, const std::string& path, const Resources& resources, pid_t first);
/// Stops it; one that is gone already is no error.
void stop_scope(const std::string& path);

}  // namespace nagaya::cgroup
