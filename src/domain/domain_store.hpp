// Machines and containers by one name space: a name belongs to one of them.
#pragma once
#include <string>
#include <variant>
#include <vector>

#include "domain/container_store.hpp"
#include "domain/machine_store.hpp"

namespace nagaya::domain {

using Domain = std::variant<Machine, Container>;

[[nodiscard]] const std::string& name_of(const Domain& domain);
/// "vm" or "container".
[[nodiscard]] const char* kind_of(const Domain& domain);

class DomainStore {
 public:
  /// Folders of this user (host/dirs.hpp), or others for tests.
  DomainStore();
  DomainStore(const std::string& state, const std::string& runtime) : machines_(state, runtime), containers_(state, runtime), domains_(state + "/domains") {}

  /// By name, or by the beginning of a name or of a container's id when only one begins so. ENOENT: none.
  [[nodiscard]] Result<Domain> find(const std::string& name) const;
  /// By name. What cannot be read is left out and told in `unreadable`.
  [[nodiscard]] Result<std::vector<Domain>> list(std::vector<std::string>* unreadable = nullptr) const;
  [[nodiscard]] bool running(const Domain& domain) const;
  /// Removes what does not run.
  [[nodiscard]] Result<> remove(const Domain& domain) const;

  [[nodiscard]] const MachineStore& machines() const { return machines_; }
  [[nodiscard]] const ContainerStore& containers() const { return containers_; }

 private:
  MachineStore machines_;
  ContainerStore containers_;
  std::string domains_;
};

}  // namespace nagaya::domain
