// The end of a container, from whatever point it had reached.
#pragma once
#include "base/result.hpp"
#include "container/record.hpp"

namespace nagaya::container {

/// Kills what is left of its processes, waits for their ends and removes its cgroup. Nothing there is no error.
Result<> tear_down(const Record& record);

}  // namespace nagaya::container
