// Definitions on a server: the same documents, each put to its place.
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <ranges>

#include "cli/definition_files.hpp"
#include "cli/launch.hpp"
#include "cli/remote.hpp"
#include "definition/document.hpp"
#include "definition/objects.hpp"
#include "host/terminal.hpp"

namespace nagaya::cli {
namespace {

using api::Client;
using definition::Json;

std::string path_of(const Json& document) {
  const std::string kind = document.at("kind");
  const char* const place = definition::is_domain(document) ? "domains" : kind == "network" ? "networks" : "volumes";
  return fmt::format("/{}/{}", place, api::url_part(document.at("name").get<std::string>()));
}

Result<int> remove_all(const Client& client, const std::vector<Json>& documents, bool force) {
  int code = 0;
  for (const Json& document : std::views::reverse(documents)) {
    const bool domain = definition::is_domain(document);
    const std::string path = path_of(document);
    const auto done = domain ? client.operate("DELETE", path + (force ? "?force=true" : ""), {}, tell_progress) : [&]() -> Result<> {
      TRY(client.call("DELETE", path));
      return {};
    }();
    if (done) {
      fmt::print("{} removed\n", definition::title(document));
    } else if (done.error().code == ENOENT) {
      fmt::print("{} was not there\n", definition::title(document));
    } else {
      complain(Error(done.error()).within(definition::title(document)));
      code = 125;
    }
  }
  return code;
}

Result<bool> apply_one(const Client& client, const Json& document, const Parsed& options) {
  const bool dry = options.has("dry-run"), domain = definition::is_domain(document);
  const std::string path = path_of(document);
  TRY_ASSIGN(const Json plan, client.call("PUT", path + (dry || domain ? "?dryRun=true" : ""), document));
  const std::string action = plan.value("action", "");
  const bool recreate = options.has("recreate"), restart = options.has("restart") || recreate;
  const bool waits = (action == "recreate" && !recreate) || (action == "restart" && !restart);
  bool started = false;
  if (domain && !dry && !waits) {
    if (action != "none") TRY(client.operate("PUT", fmt::format("{}?restart={}&recreate={}", path, restart, recreate), document, tell_progress));
    if (options.has("start")) {
      TRY_ASSIGN(const Json now, client.call("GET", path));
      const std::string state = now.value("state", "");
      if (state != "running" && state != "paused") {
        TRY(client.operate("POST", path + "/start", {}, tell_progress));
        started = true;
      }
    }
  }
  tell_applied(document, plan, dry, waits, started);
  std::fflush(stdout);
  return waits && !dry;
}

Result<int> run_apply(const Client& client, const Parsed& options) {
  if (options.has("print") && options.has("delete")) return fail("--print", "it does not go with --delete");
  if (options.has("print")) return print_only(options);
  TRY_ASSIGN(const auto documents, options.has("delete") ? documents_to_remove(options) : documents_of(options));
  if (options.has("delete")) {
    if (options.has("dry-run")) return fail("--dry-run", "it does not go with --delete");
    return remove_all(client, documents, options.has("force"));
  }
  if (options.has("force")) return fail("--force", "it goes with --delete");
  int code = 0;
  for (const Json& document : documents) {
    auto waits = apply_one(client, document, options);
    if (!waits) return std::unexpected(std::move(waits.error()).within(definition::title(document)));
    if (*waits) code = exit_waits;
  }
  return code;
}

Result<int> run_export(const Client& client, const Parsed& options) {
  if (!options.has("NAME")) return fail("nagaya export", "nothing is named", "'nagaya ps -a' lists domains");
  std::vector<Json> out;
  for (const std::string& name : options.all("NAME")) {
    if (name.starts_with("network/")) {
      TRY_ASSIGN(const Json network, client.call("GET", "/networks/" + api::url_part(name.substr(8))));
      Json document = {{"kind", "network"}, {"name", network.value("name", "")}, {"driver", network.value("kind", "user")}};
      for (const char* field : {"subnet", "mtu", "hostLoopback", "ip6"}) {
        if (network.contains(field)) document[field] = network[field];
      }
      if (network.value("internal", false)) document["internal"] = true;
      out.push_back(std::move(document));
    } else if (name.starts_with("volume/")) {
      TRY_ASSIGN(const Json volume, client.call("GET", "/volumes/" + api::url_part(name.substr(7))));
      out.push_back(definition::volume_document(volume));
    } else {
      TRY_ASSIGN(const Json detail, client.call("GET", "/domains/" + api::url_part(name)));
      out.push_back(detail.value("definition", Json::object()));
    }
  }
  TRY(print_documents(options, out));
  return 0;
}

}  // namespace

std::vector<CommandSpec> remote_definition_commands(const Client& client) {
  CommandSpec apply = apply_spec(), away = delete_spec(), out = export_spec();
  apply.run = [client](const Parsed& options) { return run_apply(client, options); };
  away.run = [client](const Parsed& options) -> Result<int> {
    TRY_ASSIGN(const auto documents, documents_to_remove(options));
    return remove_all(client, documents, options.has("force"));
  };
  out.run = [client](const Parsed& options) { return run_export(client, options); };
  return {std::move(apply), std::move(away), std::move(out)};
}

}  // namespace nagaya::cli
