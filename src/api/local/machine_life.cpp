#include <fmt/format.h>

#include <cerrno>

#include "api/local/life.hpp"
#include "api/local/machine_view.hpp"
#include "definition/container.hpp"
#include "domain/container_control.hpp"
#include "domain/machine_control.hpp"
#include "domain/machine_make.hpp"
#include "domain/machine_policy.hpp"
#include "domain/machine_update.hpp"

namespace nagaya::api {
namespace {

using domain::Machine;
using domain::MachineStore;
constexpr unsigned usual_stop_seconds = 60;

Result<> stop(const MachineStore& store, const Machine& machine, const Json& action, Task& task) {
  TRY(domain::mark_stopped(machine));
  TRY(end_slowly([&] { return store.running(machine); }, [&] { return domain::ask_machine_to_stop(store, machine); }, action.value("timeout", usual_stop_seconds), task));
  return store.running(machine) ? domain::stop_machine(store, machine, 0) : Result<>();
}

// "restart" and "autostart" of a definition or an update.
Result<> keep_policy(const Machine& machine, const Json& said) {
  domain::MachinePolicy policy = domain::MachinePolicy::read(machine);
  if (said.contains("restart")) {
    TRY_ASSIGN(policy.restart, definition::restart_of(said["restart"]));
  }
  policy.autostart = said.value("autostart", policy.autostart);
  return policy.write(machine);
}

}  // namespace

Result<> create_machine(const MachineStore& store, const Json& document, const image::Image& image, Task& task) {
  task.progress(0.9, "making its disk");
  // The policy is kept beside the definition.
  Json rest = document;
  rest.erase("restart");
  rest.erase("autostart");
  auto made = definition::create_machine(store, rest, image);
  if (!made && made.error().code == 0) made.error().code = EINVAL;
  if (!made || (!document.contains("restart") && !document.contains("autostart"))) return made;
  TRY_ASSIGN(const Machine machine, store.find(document.at("name").get<std::string>()));
  auto kept = keep_policy(machine, document);
  if (!kept) (void)store.remove(machine);
  return kept;
}

Result<> update_machine(const MachineStore& store, const Machine& machine, const Json& update) {
  if (update.contains("restart") || update.contains("autostart")) TRY(keep_policy(machine, update));
  definition::MachineNotes notes = definition::MachineNotes::read(machine);
  if (update.contains("limits")) {
    domain::MachineSpec wanted = machine.spec;
    TRY(definition::limit_machine(wanted, update["limits"]));
    TRY(domain::update_machine(store, machine, wanted));
  }
  if (update.contains("labels")) {
    notes.labels = update["labels"];
    TRY(notes.write(machine));
  }
  return {};
}

Result<> act_on_machine(const MachineStore& store, const Machine& machine, Verb verb, const Json& action, Task& task) {
  const std::string& name = machine.spec.name;
  const bool running = store.running(machine);
  if (verb == Verb::rename) {
    TRY(store.rename(machine, action.at("name").get<std::string>()));
    return {};
  }
  if (verb == Verb::start) return running ? of_code(EBUSY, fmt::format("'{}' runs already", name)) : start_domain(name, task);
  if (verb == Verb::restart) {
    if (running) TRY(stop(store, machine, action, task));
    return start_domain(name, task);
  }
  if (!running && verb == Verb::stop) {
    store.clear_leftovers(machine);
    return {};
  }
  if (!running) return of_code(EBUSY, fmt::format("'{}' does not run", name));
  if (verb == Verb::stop) return stop(store, machine, action, task);
  if (verb == Verb::pause || verb == Verb::resume) return domain::hold_machine(machine, verb == Verb::pause);
  auto number = domain::parse_signal(action.value("signal", "KILL"));
  if (!number) {
    number.error().code = EINVAL;
    return std::unexpected(std::move(number.error()));
  }
  return domain::signal_machine(store, machine, *number);
}

}  // namespace nagaya::api
