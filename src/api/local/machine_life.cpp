#include <fmt/format.h>

#include <cerrno>

#include "api/local/life.hpp"
#include "api/local/machine_view.hpp"
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
  TRY(end_slowly([&] { return store.running(machine); }, [&] { return domain::ask_machine_to_stop(store, machine); }, action.value("timeout", usual_stop_seconds), task));
  return store.running(machine) ? domain::stop_machine(store, machine, 0) : Result<>();
}

}  // namespace

Result<> create_machine(const MachineStore& store, const Json& document, const image::Image& image, Task& task) {
  task.progress(0.9, "making its disk");
  auto made = definition::create_machine(store, document, image);
  if (!made && made.error().code == 0) made.error().code = EINVAL;
  return made;
}

Result<> update_machine(const MachineStore& store, const Machine& machine, const Json& update) {
  const domain::MachinePolicy before = domain::MachinePolicy::read(machine);
  TRY_ASSIGN(const domain::MachinePolicy policy, definition::machine_policy_of(update, before));
  definition::MachineNotes notes = definition::MachineNotes::read(machine);
  if (update.contains("limits")) {
    domain::MachineSpec wanted = machine.spec;
    TRY(definition::limit_machine(wanted, update["limits"]));
    TRY(domain::update_machine(store, machine, wanted));
  }
  if (policy != before) TRY(policy.write(machine));
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
