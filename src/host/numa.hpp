// Memory of one node of a host with several. Source: Linux Documentation/admin-guide/mm/numa_memory_policy.rst.
#pragma once
#include "base/result.hpp"

namespace nagaya::host {

/// What the calling thread, and threads that it starts from now on, take from the kernel comes from this node as long as there is
/// some left. Memory files that they fill are memory, too.
Result<> prefer_node(unsigned node);

}  // namespace nagaya::host
