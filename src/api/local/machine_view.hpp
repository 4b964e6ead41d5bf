// A virtual machine as the API's schemas show it; its definition is definition/machine.hpp's.
#pragma once
#include "api/backend.hpp"
#include "definition/machine.hpp"

namespace nagaya::api {

/// Domain.
[[nodiscard]] Json machine_summary(const domain::MachineStore& store, const domain::Machine& machine);
/// Stats of its process; ENOTCONN: it does not run.
[[nodiscard]] Result<Json> machine_stats(const domain::MachineStore& store, const domain::Machine& machine);

}  // namespace nagaya::api
