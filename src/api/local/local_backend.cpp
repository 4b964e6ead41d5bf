#include "api/local/local_backend.hpp"

#include <fmt/format.h>

#include <cctype>
#include <cerrno>

#include "api/access.hpp"
#include "api/local/commands.hpp"
#include "api/local/container_inside.hpp"
#include "api/local/container_view.hpp"
#include "api/local/host_info.hpp"
#include "api/local/life.hpp"
#include "api/local/local_objects.hpp"
#include "api/local/machine_inside.hpp"
#include "api/local/machine_view.hpp"
#include "api/local/watcher.hpp"
#include "api/text.hpp"
#include "definition/plan.hpp"
#include "domain/machine_control.hpp"
#include "image/store.hpp"

namespace nagaya::api {
namespace {

using domain::Container;
using domain::Domain;
using domain::Machine;

class LocalBackend final : public Backend, private Domains, private Inside {
 public:
  LocalBackend() : watcher_([this] { return list(); }) {}
  Domains& domains() override { return *this; }
  Inside& inside() override { return *this; }
  Objects& objects() override { return objects_; }
  Result<Json> info() override { return info_.get(); }
  void watch(EventSink sink) override { watcher_.start(std::move(sink)); }
  void unwatch() override { watcher_.stop(); }

 private:
  // A name of the API is the whole name, never the beginning of one.
  Result<Domain> find(const std::string& name) {
    auto found = store_.find(name);
    if (!found || domain::name_of(*found) != name) return of_code(ENOENT, fmt::format("there is no domain '{}'", name));
    return found;
  }
  Result<Domain> find_running(const std::string& name) {
    TRY_ASSIGN(Domain one, find(name));
    if (!store_.running(one)) return of_code(EBUSY, fmt::format("'{}' does not run", name));
    return one;
  }
  // Does what belongs to the kind.
  template <class OfMachine, class OfContainer>
  static auto by_kind(const Domain& one, OfMachine of_machine, OfContainer of_container) {
    if (const Machine* machine = std::get_if<Machine>(&one)) return of_machine(*machine);
    return of_container(std::get<Container>(one));
  }

  Json summary(const Domain& one) {
    return by_kind(
        one, [&](const Machine& machine) { return machine_summary(store_.machines(), machine); },
        [&](const Container& container) { return container_summary(store_.containers(), container); });
  }
  static std::string project_of(const Domain& one) {
    return by_kind(
        one, [](const Machine& machine) { return definition::MachineNotes::read(machine).project; },
        [](const Container& container) { return definition::project_of(container.definition); });
  }

  Result<Json> list() override {
    TRY_ASSIGN(const auto all, store_.list());
    Json out = Json::array();
    for (const Domain& one : all) out.push_back(summary(one));
    return out;
  }

  Result<Json> get(const std::string& name) override {
    TRY_ASSIGN(const Domain one, find(name));
    Json out = summary(one);
    out["definition"] = by_kind(
        one, [](const Machine& machine) { return definition::machine_document(machine.spec, definition::MachineNotes::read(machine), domain::MachinePolicy::read(machine)); },
        [](const Container& container) { return definition::container_document(container.definition); });
    return out;
  }

  Result<std::string> project(const std::string& name) override {
    TRY_ASSIGN(const Domain one, find(name));
    return project_of(one);
  }

  Result<std::string> fresh_name(const Json& definition) override {
    // A reference may hold what a name must not.
    std::string image = definition.at("image").get<std::string>();
    image = image.substr(0, image.find('@'));
    image = image.substr(image.rfind('/') + 1);
    image = image.substr(0, image.find(':'));
    std::erase_if(image, [](unsigned char c) { return std::isalnum(c) == 0 && c != '-' && c != '_' && c != '.'; });
    if (image.empty() || std::isalnum(static_cast<unsigned char>(image[0])) == 0) image = "domain";
    return store_.machines().fresh_name(image.substr(0, 48));
  }

  Result<> create(const Json& definition, Task& task) override {
    const std::string name = definition.at("image");
    TRY_ASSIGN(auto images, image::Store::open());
    auto image = images.find(name);
    if (!image) {
      TRY(objects_.pull(name, task));
      image = images.find(name);
    }
    if (!image) return of_code(ENOENT, fmt::format("there is no image '{}'", name));
    if (task.stop().stop_requested()) return of_code(ECANCELED, "cancelled");
    // What an image is says what runs it, unless the definition does.
    const std::string kind = definition.value("kind", image->kind == image::Kind::oci ? "container" : "vm");
    if (kind == "container") return definition::create_container(store_.containers(), definition, *image);
    if (image->disk_path.empty() || image->kernel_path.empty()) {
      TRY(objects_.make_disk(name, task));
      TRY_ASSIGN(image, images.find(name));
    }
    return create_machine(store_.machines(), definition, *image, task);
  }

  Result<> update(const std::string& name, const Json& update) override {
    TRY_ASSIGN(const Domain one, find(name));
    TRY(by_kind(
        one, [&](const Machine& machine) { return update_machine(store_.machines(), machine, update); },
        [&](const Container& container) { return update_container_by(store_.containers(), container, update); }));
    watcher_.tell("updated", name, project_of(one));
    return {};
  }

  Result<Json> plan(const Json& document) override {
    TRY_ASSIGN(const definition::Plan plan, definition::plan_domain(store_, document));
    return plan.to_json();
  }

  Result<> apply(const Json& document, const ApplyFlags& flags, Task& task) override {
    const std::string name = document.at("name");
    TRY_ASSIGN(const definition::Plan plan, definition::plan_domain(store_, document));
    const definition::Need need = plan.need();
    if (need == definition::Need::anew && !flags.recreate) return of_code(EBUSY, fmt::format("'{}' must be made anew", name), "what it has written would be lost");
    if (need == definition::Need::restart && !flags.restart && !flags.recreate) return of_code(EBUSY, fmt::format("'{}' must be restarted", name));
    std::vector<std::string> options;
    for (const auto& [given, option] : {std::pair{flags.restart, "--restart"}, {flags.recreate, "--recreate"}, {flags.start, "--start"}}) {
      if (given) options.emplace_back(option);
    }
    TRY_ASSIGN(const CommandEnd end, apply_by_command(document, options, task.stop(), [&](const std::string& line) { task.progress(-1, printable(line, 200)); }));
    TRY(succeed(fmt::format("cannot apply the definition of '{}'", name), end));
    if (plan.exists) watcher_.tell("updated", name, document.value("project", default_project));
    return {};
  }

  Result<> remove(const std::string& name, bool force, Task& task) override {
    TRY_ASSIGN(const Domain one, find(name));
    if (store_.running(one)) {
      if (!force) return of_code(EBUSY, fmt::format("'{}' runs", name), "stop it, or force its end");
      task.progress(-1, "ending it");
      TRY(by_kind(
          one, [&](const Machine& machine) { return domain::stop_machine(store_.machines(), machine, 0); },
          [&](const Container& container) { return domain::stop_container(store_.containers(), container, {}, 0); }));
    }
    // By our command: a container's files belong to users that only its namespaces know.
    TRY_ASSIGN(const CommandEnd end, run_command({"rm", "-f", name}));
    return succeed(fmt::format("cannot remove '{}'", name), end);
  }

  Result<> act(const std::string& name, Verb verb, const Json& action, Task& task) override {
    TRY_ASSIGN(const Domain one, find(name));
    TRY(by_kind(
        one, [&](const Machine& machine) { return act_on_machine(store_.machines(), machine, verb, action, task); },
        [&](const Container& container) { return act_on_container(store_.containers(), container, verb, action, task); }));
    return {};
  }

  Result<Json> stats(const std::string& name) override {
    TRY_ASSIGN(const Domain one, find(name));
    return by_kind(
        one, [&](const Machine& machine) { return machine_stats(store_.machines(), machine); },
        [&](const Container& container) { return container_stats_view(store_.containers(), container); });
  }

  Result<std::optional<int>> ended(const std::string& name) override {
    TRY_ASSIGN(const Domain one, find(name));
    if (store_.running(one)) return std::optional<int>();
    return by_kind(
        one, [](const Machine& machine) { return std::optional<int>(domain::machine_exit_code(machine)); },
        [&](const Container& container) { return std::optional<int>(store_.containers().status(container).exit_code); });
  }

  Result<Json> processes(const std::string& name) override {
    TRY_ASSIGN(const Domain one, find_running(name));
    return by_kind(
        one, [](const Machine& machine) { return machine_processes(machine, {}); },
        [&](const Container& container) { return container_processes_view(store_.containers(), container); });
  }
  Result<ByteStream> logs(const std::string& name, const LogOptions& options) override {
    TRY_ASSIGN(const Domain one, find(name));
    return by_kind(
        one, [&](const Machine& machine) { return machine_logs(store_.machines(), machine, options); },
        [&](const Container& container) { return container_logs(store_.containers(), container, options); });
  }
  Result<Terminal> console(const std::string& name) override {
    TRY_ASSIGN(const Domain one, find_running(name));
    return by_kind(
        one, [&](const Machine& machine) { return machine_console(store_.machines(), machine); }, [](const Container& container) { return container_console(container); });
  }
  Result<Terminal> exec(const std::string& name, const Json& exec) override {
    TRY_ASSIGN(const Domain one, find_running(name));
    return by_kind(
        one, [&](const Machine& machine) { return machine_exec(machine, exec); }, [&](const Container& container) { return container_exec(container, exec); });
  }
  Result<Json> run(const std::string& name, const Json& exec, std::stop_token stop) override {
    TRY_ASSIGN(const Domain one, find_running(name));
    return by_kind(
        one, [&](const Machine& machine) { return machine_run(machine, exec, stop); },
        [&](const Container& container) { return container_run(container, exec, stop); });
  }
  Result<ByteStream> get_files(const std::string& name, const std::string& path) override {
    TRY_ASSIGN(const Domain one, find_running(name));
    return by_kind(
        one, [&](const Machine& machine) { return machine_get_files(machine, path); },
        [&](const Container& container) { return container_get_files(container, path); });
  }
  Result<> put_files(const std::string& name, const std::string& path, int tar) override {
    TRY_ASSIGN(const Domain one, find_running(name));
    return by_kind(
        one, [&](const Machine& machine) { return machine_put_files(machine, path, tar); },
        [&](const Container& container) { return container_put_files(container, path, tar); });
  }

  const domain::DomainStore store_;
  LocalObjects objects_;
  HostInfo info_;
  Watcher watcher_;  // last: its thread lists
};

}  // namespace

Result<std::unique_ptr<Backend>> local_backend() { return std::make_unique<LocalBackend>(); }

}  // namespace nagaya::api
