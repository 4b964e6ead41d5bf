// Namespaces of another container, which one joins: "container:NAME" in place of a mode or network.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "domain/container_store.hpp"

namespace nagaya::domain {

/// The name or id in "container:NAME"; nothing for other modes.
[[nodiscard]] std::optional<std::string> joined_name(const std::string& mode);
/// Whether any namespace of it is another container's.
[[nodiscard]] bool joins_others(const ContainerDefinition& definition);
/// Puts ids in place of names, so that a later start never joins another container of the same name. Each must be there and run.
Result<> resolve_joined(const ContainerStore& store, ContainerDefinition& definition);

/// What is open of a container that runs: no namespace of a later process is taken for one of its own.
struct JoinedSpaces {
  host::Fd network{}, pid{}, ipc{}, uts{};
  host::Fd time{};                 ///< goes with `pid`: processes have begun by its clocks; empty where the kernel has none
  host::Fd shm{};                  ///< a detached copy of its /dev/shm; goes with `ipc`
  std::string address{};           ///< of its first card; goes with `network`
  std::string hosts{}, resolv_conf{};  ///< texts of its files; go with `network`
};
/// Opens what the definition joins, as it is now: to be called at each start. An error: a container is gone or does not run.
[[nodiscard]] Result<JoinedSpaces> join_spaces(const ContainerStore& store, const ContainerDefinition& definition);
/// For others than root: enters the user namespace of the containers it joins, of which there can be one; and a mount namespace of its own.
Result<> enter_joined_user_namespace(const ContainerStore& store, const ContainerDefinition& definition);

}  // namespace nagaya::domain
