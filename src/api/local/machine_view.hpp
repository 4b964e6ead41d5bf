// A virtual machine as the API's schemas show it.
#pragma once
#include <optional>
#include <string>

#include "api/backend.hpp"
#include "domain/machine_store.hpp"

namespace nagaya::api {

/// What the API knows of a machine beside its own definition; a file in the machine's folder, so that it goes with it.
struct MachineNotes {
  std::string project = "default";
  Json labels = Json::object();
  static MachineNotes read(const domain::Machine& machine);
  [[nodiscard]] Result<> write(const domain::Machine& machine) const;
};

/// Definition to a machine's specification; `image` is the id. Errors have EINVAL or EOPNOTSUPP.
[[nodiscard]] Result<domain::MachineSpec> machine_spec_of(const Json& definition, std::string image);
/// Changes what `limits` names: memory and processors are the machine's, the others those of its process. Errors have EINVAL.
[[nodiscard]] Result<> limit_machine(domain::MachineSpec& spec, const Json& limits);
[[nodiscard]] Json machine_definition(const domain::Machine& machine, const MachineNotes& notes);
/// Domain.
[[nodiscard]] Json machine_summary(const domain::MachineStore& store, const domain::Machine& machine);
/// Stats of its process; ENOTCONN: it does not run.
[[nodiscard]] Result<Json> machine_stats(const domain::MachineStore& store, const domain::Machine& machine);

}  // namespace nagaya::api
