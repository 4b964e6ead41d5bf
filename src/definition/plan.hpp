// What applying a definition would do: the difference between what it asks for and what is there.
#pragma once
#include <string>
#include <vector>

#include "definition/yaml.hpp"
#include "domain/domain_store.hpp"
#include "net/network.hpp"

namespace nagaya::definition {

/// What a change costs the domain that has it.
enum class Need : u8 {
  nothing,  ///< it changes as it is, running or not
  restart,  ///< it is read at a start only
  anew,     ///< it is fixed when the domain is made: what the domain has written goes
};
struct Change {
  std::string field;  ///< "limits.memory"
  Json from, to;      ///< null: not said
  Need need = Need::nothing;
};
struct Plan {
  bool exists = false;
  std::vector<Change> changes{};  ///< of something that exists
  [[nodiscard]] Need need() const;
  /// "create", "none", "change", "restart", "recreate".
  [[nodiscard]] const char* action() const;
  [[nodiscard]] Json to_json() const;
};

/// Fields that differ, in the order of their names; members of limits and hardware by themselves.
[[nodiscard]] std::vector<Change> differences(const Json& from, const Json& to);

[[nodiscard]] Result<Plan> plan_domain(const domain::DomainStore& store, const Json& document);
[[nodiscard]] Result<Plan> plan_network(const net::NetworkStore& store, const Json& document);
[[nodiscard]] Result<Plan> plan_volume(const Json& document);

/// The document that makes what is there; the same as applying it finds unchanged.
[[nodiscard]] Json document_of(const domain::Domain& domain);

}  // namespace nagaya::definition
