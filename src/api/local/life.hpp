// The life cycle of each kind.
#pragma once
#include "api/backend.hpp"
#include "domain/domain_store.hpp"
#include "image/image.hpp"

namespace nagaya::api {

/// An error with its errno, which says what kind of refusal it is (backend.hpp).
[[nodiscard]] std::unexpected<Error> of_code(int code, std::string what, std::string why = {});

/// Starts either kind in the background, behind a monitor of its own.
Result<> start_domain(const std::string& name, Task& task);
/// Asks it to end, and waits in pieces between which it can be called off; then by force.
Result<> end_slowly(const std::function<bool()>& running, const std::function<Result<>()>& ask, unsigned seconds, Task& task);

Result<> create_machine(const domain::MachineStore& store, const Json& definition, const image::Image& image, Task& task);
Result<> update_machine(const domain::MachineStore& store, const domain::Machine& machine, const Json& update);
Result<> act_on_machine(const domain::MachineStore& store, const domain::Machine& machine, Verb verb, const Json& action, Task& task);

Result<> update_container_by(const domain::ContainerStore& store, domain::Container container, const Json& update);
Result<> act_on_container(const domain::ContainerStore& store, const domain::Container& container, Verb verb, const Json& action, Task& task);

}  // namespace nagaya::api
