#include "definition/apply.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "definition/container.hpp"
#include "definition/document.hpp"
#include "definition/machine.hpp"
#include "definition/objects.hpp"
#include "domain/container_control.hpp"

namespace nagaya::definition {
namespace {

using domain::Container;
using domain::Domain;
using domain::DomainStore;
using domain::Machine;

Result<> create_domain(const DomainStore& store, const Json& document, const Hands& hands) {
  const bool machine = document.at("kind") == "vm";
  TRY_ASSIGN(const image::Image image, hands.image(document.at("image"), machine));
  return machine ? create_machine(store.machines(), document, image) : create_container(store.containers(), document, image);
}

Result<> change_container(const DomainStore& store, Container container, const Json& document) {
  domain::ContainerDefinition& now = container.definition;
  TRY_ASSIGN(domain::ContainerDefinition wanted, wanted_container(store.containers(), document, now));
  wanted.id = now.id;
  wanted.created = now.created;
  // The running one's limits are the kernel's; the rest is read at its next start.
  if (wanted.limits != now.limits || wanted.restart != now.restart) TRY(domain::update_container(store.containers(), container, wanted.limits, wanted.restart));
  container.definition = std::move(wanted);
  return store.containers().save(container);
}

Result<> change_machine(const DomainStore& store, Machine machine, const Json& document, const Plan& plan) {
  MachineNotes notes = MachineNotes::read(machine);
  notes.project = document.value("project", notes.project);
  notes.labels = document.value("labels", Json::object());
  TRY_ASSIGN(const domain::MachinePolicy policy, machine_policy_of(document));
  constexpr std::string_view beside[] = {"labels", "project", "restart", "autostart"};  // the machine's own file; they may change while it runs
  const bool more = std::ranges::any_of(plan.changes, [&](const Change& change) { return std::ranges::find(beside, change.field) == std::end(beside); });
  if (more) {
    // Held while it changes, so that no start comes in between.
    TRY_ASSIGN(const host::Fd held, store.machines().lock(machine));
    TRY_ASSIGN(domain::MachineSpec wanted, machine_spec_of(document, machine.spec.image));
    wanted.created = machine.spec.created;
    machine.spec = std::move(wanted);
    TRY(store.machines().save(machine));
  }
  if (policy != domain::MachinePolicy::read(machine)) TRY(policy.write(machine));
  return notes.write(machine);
}

Result<> change_domain(const DomainStore& store, const Json& document, const Plan& plan, const Hands& hands) {
  TRY_ASSIGN(const Domain now, store.find(document.at("name")));
  const bool running = store.running(now);
  const Need need = plan.need();
  if (running && need != Need::nothing) TRY(hands.stop(now));
  if (need == Need::anew) {
    // What it needs is fetched before anything is gone.
    TRY(hands.image(document.at("image"), document.at("kind") == "vm"));
    if (const auto left = store.find(document.at("name").get<std::string>()); left && domain::name_of(*left) == document.at("name").get<std::string>()) TRY(store.remove(*left));
    TRY(create_domain(store, document, hands));
  } else if (const auto* container = std::get_if<Container>(&now)) {
    TRY(change_container(store, *container, document));
  } else {
    TRY(change_machine(store, std::get<Machine>(now), document, plan));
  }
  if (!running || need == Need::nothing) return {};
  TRY_ASSIGN(const Domain changed, store.find(document.at("name")));
  return hands.start(changed);
}

Result<Outcome> apply_domain(const Json& document, const ApplyOptions& options, const Hands& hands) {
  const DomainStore store;
  TRY_ASSIGN(Plan plan, plan_domain(store, document));
  Outcome out{.plan = std::move(plan)};
  const Need need = out.plan.need();
  out.waits = (need == Need::restart && !options.restart && !options.recreate) || (need == Need::anew && !options.recreate);
  if (options.dry_run || out.waits) return out;
  if (!out.plan.exists) {
    TRY(create_domain(store, document, hands));
  } else if (!out.plan.changes.empty()) {
    TRY(change_domain(store, document, out.plan, hands));
  }
  if (!options.start) return out;
  TRY_ASSIGN(const Domain now, store.find(document.at("name")));
  if (store.running(now)) return out;
  TRY(hands.start(now));
  out.started = true;
  return out;
}

Result<Outcome> apply_network(const Json& document, const ApplyOptions& options) {
  const net::NetworkStore store;
  TRY_ASSIGN(Plan plan, plan_network(store, document));
  Outcome out{.plan = std::move(plan)};
  if (options.dry_run || (out.plan.exists && out.plan.changes.empty())) return out;
  std::optional<net::Network> now;
  if (out.plan.exists) {
    TRY_ASSIGN(now, store.find(document.at("name")));
    TRY(remove_network(store, now->name));
  }
  TRY_ASSIGN(const net::Network wanted, network_of(document, now));
  TRY(create_network(store, wanted, document.contains("subnet") || (now && now->driver == wanted.driver)));
  return out;
}

Result<Outcome> apply_volume(const Json& document, const ApplyOptions& options) {
  TRY_ASSIGN(Plan plan, plan_volume(document));
  Outcome out{.plan = std::move(plan)};
  if (options.dry_run) return out;
  if (!out.plan.exists) {
    TRY(create_volume(document));
  } else if (!out.plan.changes.empty()) {
    TRY(note_volume(document));
  }
  return out;
}

}  // namespace

Result<Outcome> apply(const Json& document, const ApplyOptions& options, const Hands& hands) {
  if (is_domain(document)) return apply_domain(document, options, hands);
  return document.at("kind") == "network" ? apply_network(document, options) : apply_volume(document, options);
}

Result<bool> remove(const Json& document, bool force, const Hands& hands) {
  const std::string name = document.at("name");
  if (document.at("kind") == "network") {
    const net::NetworkStore store;
    if (!store.find(name)) return false;
    TRY(remove_network(store, name));
    return true;
  }
  if (document.at("kind") == "volume") {
    if (!find_volume(name)) return false;
    TRY(remove_volume(name));
    return true;
  }
  const DomainStore store;
  const auto found = store.find(name);
  if (!found || domain::name_of(*found) != name) return false;
  if (domain::kind_of(*found) != document.at("kind")) return fail(fmt::format("'{}' is a {}", name, domain::kind_of(*found)), "the definition is of another kind");
  if (store.running(*found)) {
    if (!force) return std::unexpected(Error{fmt::format("'{}' runs", name), {}, "stop it, or say --force", EBUSY});
    TRY(hands.stop(*found));
  }
  // One that goes away at its end is gone by now.
  if (const auto left = store.find(name); left && domain::name_of(*left) == name) TRY(store.remove(*left));
  return true;
}

}  // namespace nagaya::definition
