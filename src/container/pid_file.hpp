// --pid-file: the number of the process, for the caller that supervises it.
#pragma once
#include <sys/types.h>

#include <string>

#include "base/result.hpp"

namespace nagaya::container {

/// Written in one step. An empty path: nothing.
Result<> write_pid_file(const std::string& path, pid_t pid);

}  // namespace nagaya::container
