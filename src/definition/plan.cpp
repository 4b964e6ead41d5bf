#include "definition/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "definition/container.hpp"
#include "definition/document.hpp"
#include "definition/machine.hpp"
#include "definition/objects.hpp"

namespace nagaya::definition {
namespace {

using domain::Container;
using domain::Domain;
using domain::Machine;

constexpr std::string_view words[] = {"nothing", "restart", "recreate"};

bool one_of(std::string_view field, std::initializer_list<std::string_view> names) {
  return std::ranges::any_of(names, [&](std::string_view name) { return field == name || (field.starts_with(name) && field[name.size()] == '.'); });
}

Need need_of(const Domain& one, std::string_view field, bool running) {
  if (const auto* container = std::get_if<Container>(&one)) {
    if (one_of(field, {"image", "storageDriver", "userns"})) return Need::anew;
    if (!running || one_of(field, {"limits", "restart", "autostart", "labels", "project"})) return Need::nothing;
    // One that goes away at its end cannot be started again.
    return container->definition.remove ? Need::anew : Need::restart;
  }
  if (one_of(field, {"image", "diskSize", "userData"})) return Need::anew;
  return !running || one_of(field, {"restart", "autostart", "labels", "project"}) ? Need::nothing : Need::restart;
}

Result<Json> container_wanted(const domain::DomainStore& store, const Container& now, const Json& document) {
  TRY_ASSIGN(const domain::ContainerDefinition wanted, wanted_container(store.containers(), document, now.definition));
  return container_document(wanted);
}

Result<Json> machine_wanted(const Machine& now, const Json& document) {
  const MachineNotes before = MachineNotes::read(now);
  TRY_ASSIGN(const domain::MachineSpec wanted, machine_spec_of(document, now.spec.image));
  TRY_ASSIGN(const domain::MachinePolicy policy, machine_policy_of(document));
  return machine_document(wanted, {.project = document.value("project", before.project), .labels = document.value("labels", Json::object())}, policy);
}

}  // namespace

Need Plan::need() const {
  Need out = Need::nothing;
  for (const Change& change : changes) out = std::max(out, change.need);
  return out;
}

const char* Plan::action() const {
  if (!exists) return "create";
  if (changes.empty()) return "none";
  return need() == Need::anew ? "recreate" : need() == Need::restart ? "restart" : "change";
}

Json Plan::to_json() const {
  Json out = {{"action", action()}, {"changes", Json::array()}};
  for (const Change& change : changes) {
    Json one = {{"field", change.field}, {"needs", words[static_cast<std::size_t>(change.need)]}};
    if (!change.from.is_null()) one["from"] = change.from;
    if (!change.to.is_null()) one["to"] = change.to;
    out["changes"].push_back(std::move(one));
  }
  return out;
}

std::vector<Change> differences(const Json& from, const Json& to) {
  const auto flat = [](const Json& document) {
    Json out = Json::object();
    for (const auto& [key, value] : document.items()) {
      if (key != "limits" && key != "hardware") {
        out[key] = value;
        continue;
      }
      for (const auto& [inner, inner_value] : value.items()) out[fmt::format("{}.{}", key, inner)] = inner_value;
    }
    return out;
  };
  const Json before = flat(from), after = flat(to);
  std::vector<Change> out;
  for (const auto& [key, value] : after.items()) {
    if (!before.contains(key)) {
      out.push_back({key, nullptr, value});
    } else if (before[key] != value) {
      out.push_back({key, before[key], value});
    }
  }
  for (const auto& [key, value] : before.items()) {
    if (!after.contains(key)) out.push_back({key, value, nullptr});
  }
  std::ranges::sort(out, {}, &Change::field);
  return out;
}

Json document_of(const Domain& one) {
  if (const auto* machine = std::get_if<Machine>(&one)) return machine_document(machine->spec, MachineNotes::read(*machine), domain::MachinePolicy::read(*machine));
  return container_document(std::get<Container>(one).definition);
}

Result<Plan> plan_domain(const domain::DomainStore& store, const Json& document) {
  const std::string name = document.at("name"), kind = document.at("kind");
  auto found = store.find(name);
  if (!found && found.error().code != ENOENT) return std::unexpected(std::move(found.error()));
  // A name here is the whole name, never the beginning of one.
  if (!found || domain::name_of(*found) != name) {
    if (kind == "container") {
      TRY(container_definition_of(document, "image"));
    } else {
      TRY(machine_spec_of(document, "image"));
      TRY(machine_policy_of(document));
    }
    return Plan{};
  }
  if (domain::kind_of(*found) != kind) {
    return std::unexpected(Error{fmt::format("'{}' is a {}", name, domain::kind_of(*found)), fmt::format("the definition is of a {}", kind), "remove it first, or take another name", EEXIST});
  }
  const auto* container = std::get_if<Container>(&*found);
  TRY_ASSIGN(const Json wanted, container != nullptr ? container_wanted(store, *container, document) : machine_wanted(std::get<Machine>(*found), document));
  Plan out{.exists = true, .changes = differences(document_of(*found), wanted)};
  const bool running = store.running(*found);
  for (Change& change : out.changes) change.need = need_of(*found, change.field, running);
  return out;
}

Result<Plan> plan_network(const net::NetworkStore& store, const Json& document) {
  const auto now = store.find(document.at("name").get<std::string>());
  if (!now) {
    TRY(network_of(document, {}));
    return Plan{};
  }
  if (now->built_in()) return std::unexpected(Error{fmt::format("the network '{}' is built in", now->name), "it cannot be changed", {}, EBUSY});
  TRY_ASSIGN(const net::Network wanted, network_of(document, *now));
  return Plan{.exists = true, .changes = differences(network_document(*now), network_document(wanted))};
}

Result<Plan> plan_volume(const Json& document) {
  const auto now = find_volume(document.at("name"));
  if (!now) return Plan{};
  Json wanted = document;
  if (!wanted.contains("project")) wanted["project"] = now->value("project", "default");
  return Plan{.exists = true, .changes = differences(volume_document(*now), volume_document(wanted))};
}

}  // namespace nagaya::definition
