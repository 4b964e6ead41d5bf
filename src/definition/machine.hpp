// Virtual machines between their definitions and what the domain library keeps of them.
#pragma once
#include "definition/yaml.hpp"
#include "domain/machine_policy.hpp"
#include "domain/machine_store.hpp"
#include "image/image.hpp"

namespace nagaya::definition {

/// What is known of a machine beside its own file; a file in the machine's folder, so that it goes with it.
struct MachineNotes {
  std::string project = "default";
  Json labels = Json::object();
  static MachineNotes read(const domain::Machine& machine);
  [[nodiscard]] Result<> write(const domain::Machine& machine) const;
};

/// `image` is the id. Errors have EINVAL or, for fields of containers, EOPNOTSUPP.
[[nodiscard]] Result<domain::MachineSpec> machine_spec_of(const Json& document, std::string image);
/// Whether it is started again, where the document says so; else as it is `now`. Errors have EINVAL.
[[nodiscard]] Result<domain::MachinePolicy> machine_policy_of(const Json& document, domain::MachinePolicy now = {});
/// Makes it, all or nothing.
[[nodiscard]] Result<> create_machine(const domain::MachineStore& store, const Json& document, const image::Image& image);
/// Changes what `limits` names: memory and processors are the machine's, the others those of its process. Errors have EINVAL.
[[nodiscard]] Result<> limit_machine(domain::MachineSpec& spec, const Json& limits);
[[nodiscard]] Json machine_limits(const domain::MachineSpec& spec);
/// The document that makes the same machine.
[[nodiscard]] Json machine_document(const domain::MachineSpec& spec, const MachineNotes& notes, const domain::MachinePolicy& policy);

}  // namespace nagaya::definition
