// Hooks: programs of the configuration that run at stated moments with the container's state on standard input
// (config.md "POSIX-platform Hooks").
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"
#include "container/spec/spec.hpp"

namespace nagaya::container {

/// Runs them in order; the first failure ends it and is told with `kind` and the program's path.
Result<> run_hooks(const std::vector<Hook>& hooks, const char* kind, const std::string& state);
/// Runs all of them, whatever fails; each failure is a warning (poststart, poststop).
void run_late_hooks(const std::vector<Hook>& hooks, const char* kind, const std::string& state);

}  // namespace nagaya::container
