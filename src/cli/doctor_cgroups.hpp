// Doctor's lines about what limits domains, and what shows containers their limits.
#pragma once
#include <vector>

#include "cli/doctor.hpp"

namespace nagaya::cli {

void examine_cgroups(const HostView& host, std::vector<Finding>& out);

}  // namespace nagaya::cli
