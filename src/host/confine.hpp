// Gives up what a process that talks to strangers does not need: files outside a few folders, and root.
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"

namespace nagaya::host {

/// From now on only files below these folders can be opened, and only for reading (Landlock). False: this kernel has no
/// Landlock, and nothing changed. Source: Linux Documentation/userspace-api/landlock.rst.
Result<bool> confine_to_reading(const std::vector<std::string>& folders);

/// Root becomes the user nobody and keeps nothing but the right to bind ports below 1024; others stay who they are. A death
/// signal (PR_SET_PDEATHSIG) asked for before stays in force.
Result<> drop_root();

}  // namespace nagaya::host
