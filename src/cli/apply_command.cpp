// Definitions on this host.
#include <fmt/core.h>

#include <cstdio>
#include <optional>
#include <ranges>

#include "cli/definition_files.hpp"
#include "cli/domain_command.hpp"
#include "cli/image_for_run.hpp"
#include "cli/machine_start.hpp"
#include "cli/run_container.hpp"
#include "definition/apply.hpp"
#include "definition/document.hpp"
#include "definition/objects.hpp"
#include "domain/container_control.hpp"
#include "domain/machine_control.hpp"
#include "image/store.hpp"

namespace nagaya::cli {
namespace {

using definition::Json;
using domain::Container;
using domain::Domain;
using domain::Machine;

constexpr unsigned machine_stop_seconds = 60;

definition::Hands hands() {
  return {.image = [](const std::string& name, bool machine) { return image_for_run(name, false, machine ? ImageUse::machine : ImageUse::container); },
          .start = [](const Domain& one) -> Result<> {
            if (const auto* machine = std::get_if<Machine>(&one)) {
              TRY(start_machine(*machine, {.quiet = true, .detach = true}));
              return {};
            }
            const auto& container = std::get<Container>(one);
            TRY_ASSIGN(domain::ContainerStart start, start_of(container, true));
            return domain::start_container(domain::ContainerStore(), container, start);
          },
          .stop = [](const Domain& one) -> Result<> {
            const domain::DomainStore store;
            if (const auto* machine = std::get_if<Machine>(&one)) return domain::stop_machine(store.machines(), *machine, machine_stop_seconds);
            const auto& container = std::get<Container>(one);
            return domain::stop_container(store.containers(), container, image_config(container.definition), container.definition.stop_timeout);
          }};
}

Result<int> remove_all(const std::vector<Json>& documents, bool force) {
  int code = 0;
  for (const Json& document : std::views::reverse(documents)) {
    const auto gone = definition::remove(document, force, hands());
    if (gone) {
      fmt::print("{} {}\n", definition::title(document), *gone ? "removed" : "was not there");
    } else {
      complain(Error(gone.error()).within(definition::title(document)));
      code = 125;
    }
  }
  return code;
}

Result<int> run_apply(const Parsed& options) {
  if (options.has("print") && options.has("delete")) return fail("--print", "it does not go with --delete");
  if (options.has("print")) return print_only(options);
  TRY_ASSIGN(const auto documents, options.has("delete") ? documents_to_remove(options) : documents_of(options));
  if (options.has("delete")) {
    if (options.has("dry-run")) return fail("--dry-run", "it does not go with --delete");
    return remove_all(documents, options.has("force"));
  }
  if (options.has("force")) return fail("--force", "it goes with --delete");
  const definition::ApplyOptions how{.dry_run = options.has("dry-run"), .restart = options.has("restart"), .recreate = options.has("recreate"), .start = options.has("start")};
  int code = 0;
  for (const Json& document : documents) {
    auto outcome = definition::apply(document, how, hands());
    if (!outcome) return std::unexpected(std::move(outcome.error()).within(definition::title(document)));
    tell_applied(document, outcome->plan.to_json(), how.dry_run, outcome->waits, outcome->started);
    std::fflush(stdout);
    if (outcome->waits && !how.dry_run) code = exit_waits;
  }
  return code;
}

/// Nothing when its image is gone.
std::optional<definition::libvirt::Boot> boot_of(const std::string& name) {
  const domain::DomainStore store;
  const auto found = store.find(name);
  const auto* machine = found ? std::get_if<Machine>(&*found) : nullptr;
  const auto images = image::Store::open();
  const auto image = images && machine != nullptr ? images->find(machine->spec.image) : std::unexpected(Error{});
  if (!image || image->kernel_path.empty()) return {};
  return definition::libvirt::Boot{.kernel = image->kernel_path, .initrd = image->initrd_path, .append = image->append, .disk = machine->places.disk()};
}

Result<int> run_export(const Parsed& options) {
  if (!options.has("NAME")) return fail("nagaya export", "nothing is named", "'nagaya ps -a' lists machines and containers");
  const domain::DomainStore store;
  std::vector<Json> out;
  for (const std::string& name : options.all("NAME")) {
    if (name.starts_with("network/")) {
      TRY_ASSIGN(const net::Network network, net::NetworkStore().find(name.substr(8)));
      out.push_back(definition::network_document(network));
    } else if (name.starts_with("volume/")) {
      const auto volume = definition::find_volume(name.substr(7));
      if (!volume) return fail(fmt::format("there is no volume '{}'", name.substr(7)));
      out.push_back(definition::volume_document(*volume));
    } else {
      TRY_ASSIGN(const Domain one, store.find(name));
      out.push_back(definition::document_of(one));
    }
  }
  TRY(print_documents(options, out, boot_of));
  return 0;
}

}  // namespace

std::vector<CommandSpec> definition_commands() {
  CommandSpec apply = apply_spec(), away = delete_spec(), out = export_spec();
  apply.run = run_apply;
  away.run = [](const Parsed& options) -> Result<int> {
    TRY_ASSIGN(const auto documents, documents_to_remove(options));
    return remove_all(documents, options.has("force"));
  };
  out.run = run_export;
  return {std::move(apply), std::move(away), std::move(out),
          {.name = "schema",
           .summary = "print the JSON schema of definitions",
           .examples = {{"nagaya schema >definition.schema.json", "for an editor that helps while typing"}},
           .run = [](const Parsed&) -> Result<int> {
             const std::string_view text = definition::schema_text();
             std::fwrite(text.data(), 1, text.size(), stdout);
             return 0;
           }}};
}

}  // namespace nagaya::cli
