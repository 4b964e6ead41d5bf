// run, update, rename and top on a server: what the options say becomes a definition, as of this host's own domains.
#include <fmt/core.h>
#include <unistd.h>

#include <cstdio>

#include "base/scope.hpp"
#include "cli/container_options.hpp"
#include "cli/launch.hpp"
#include "cli/remote.hpp"
#include "cli/run_command.hpp"
#include "cli/run_image.hpp"
#include "cli/sizes.hpp"
#include "cli/table.hpp"
#include "definition/container.hpp"
#include "definition/limits.hpp"
#include "definition/machine.hpp"
#include "host/fd.hpp"
#include "host/terminal.hpp"

namespace nagaya::cli {
namespace {

using api::Client;
using definition::Json;

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

Result<Json> document_from(const Parsed& options) {
  if (options.has("container")) {
    if (const std::string other = machine_only_option(options); !other.empty()) return fail(other, "it belongs to virtual machines", "leave --container out");
    TRY_ASSIGN(const domain::ContainerDefinition made, definition_from_options(options));
    return definition::container_document(made);
  }
  TRY_ASSIGN(const proto::VmConfig config, image_machine_from_options(options));
  TRY_ASSIGN(const domain::MachineSpec spec, spec_from_options(options, config));
  TRY_ASSIGN(const domain::MachinePolicy policy, policy_from_options(options));
  return definition::machine_document(spec, {}, policy);
}

/// Until it ends; its exit code. What it writes is its log from the beginning, unless somebody is to type. Ctrl-] leaves a terminal.
Result<int> stay(const Client& client, const std::string& name, bool terminal, bool input) {
  const auto follow = [&] {
    return client.read(domain_path(name) + "/logs?follow=true", [](std::string_view bytes) { return host::write_all(STDOUT_FILENO, bytes).has_value(); });
  };
  if (!terminal && !input) {
    TRY(follow());
  } else if (!attach_remote(client, domain_path(name) + "/console", terminal, input, terminal)) {
    TRY(follow());  // it has ended before anybody came
  }
  constexpr int seconds = 30;
  for (;;) {
    TRY_ASSIGN(const Json ended, client.call("GET", fmt::format("{}/wait?timeout={}", domain_path(name), terminal ? 0 : seconds)));
    if (ended.value("ended", false)) return ended.value("exitCode", 0);
    if (terminal) return 0;  // left by Ctrl-]
  }
}

Result<int> run(const Client& client, const Parsed& options) {
  if (!options.has("IMAGE")) return fail("nagaya --host … run", "no image is named", "kernels and firmware without an image are for this host only");
  TRY_ASSIGN(Json document, document_from(options));
  const bool container = document["kind"] == "container", detach = options.has("detach");
  if (!options.has("name")) document.erase("name");
  document.erase("project");
  // In the foreground it is removed by us: its log and its end are asked for first.
  const bool remove_after = !detach && (options.has("rm") || document.value("remove", false));
  if (remove_after) document.erase("remove");
  if (options.has("cidfile")) return fail("--cidfile", "it is for this host only");
  if (options.has("dry-run")) {
    print(document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
    return 0;
  }
  // A machine's end in the background is nobody's who could remove it.
  if (!container && detach && options.has("rm")) return fail("--rm", "of a machine in the background it is for this host only");
  std::string name;
  TRY(client.operate("POST", "/domains", document, tell_progress, &name));
  if (name.empty()) name = document.value("name", "");
  ScopeExit undo([&] { (void)client.operate("DELETE", domain_path(name) + "?force=true", {}, {}); });
  TRY(client.operate("POST", domain_path(name) + "/start", {}, tell_progress));
  undo.release();
  if (detach) {
    print(name + "\n");
    return 0;
  }
  // A machine's console is a terminal where there is one, as on its own host.
  const bool terminal = container ? options.has("tty") : host::is_terminal(STDIN_FILENO) && host::is_terminal(STDOUT_FILENO);
  auto code = stay(client, name, terminal, container ? options.has("interactive") : terminal);
  if (remove_after) TRY(client.operate("DELETE", domain_path(name) + "?force=true", {}, {}));
  return code;
}

Result<int> rename(const Client& client, const Parsed& options) {
  if (!options.has("NAME") || !options.has("NEW")) return fail("nagaya rename", "a name is missing", "write nagaya rename NAME NEW");
  TRY(client.operate("POST", domain_path(options.last("NAME")) + "/rename", {{"name", options.last("NEW")}}, tell_progress));
  print(options.last("NEW") + "\n");
  return 0;
}

Result<int> update(const Client& client, const Parsed& options) {
  if (!options.has("NAME")) return fail("nagaya update", "no domain is named", "'nagaya ps -a' lists them");
  domain::DomainLimits limits;
  TRY(limits_from_options(options, limits));
  Json body = Json::object();
  if (Json said = definition::limits_json(limits); !said.empty()) body["limits"] = std::move(said);
  if (options.has("restart")) {
    TRY_ASSIGN(const auto policy, domain::RestartPolicy::parse(options.last("restart")));
    Json restart = definition::restart_json(policy);
    body["restart"] = restart.is_null() ? Json{{"policy", "no"}} : std::move(restart);
  }
  if (body.empty()) return fail("nagaya update", "nothing is to be changed", "see 'nagaya help update'");
  int code = 0;
  for (const std::string& name : options.all("NAME")) {
    if (const auto done = client.call("PATCH", domain_path(name), body)) {
      print(name + "\n");
    } else {
      complain(done.error());
      code = 125;
    }
  }
  return code;
}

Result<int> top(const Client& client, const Parsed& options) {
  if (options.all("NAME").size() != 1) return fail("nagaya top", "it takes one domain", "'nagaya ps' lists them");
  TRY_ASSIGN(const Json all, client.call("GET", domain_path(options.last("NAME")) + "/top"));
  Table table{{"pid", "ppid", "user", "memory", "cpu-seconds", "command"}, {}};
  for (const Json& one : all) {
    // What a guest calls its processes is not for a terminal as it is.
    std::string command = one.value("command", "");
    for (char& c : command) c = static_cast<unsigned char>(c) < ' ' || c == 127 ? ' ' : c;
    table.rows.push_back({fmt::format("{}", one.value("pid", 0)), fmt::format("{}", one.value("ppid", 0)), one.value("user", ""), fmt::format("{}", one.value("memory", u64{0})),
                          fmt::format("{:.2f}", static_cast<double>(one.value("cpuNs", u64{0})) / 1e9), command});
  }
  print(render(table, options.last("output")));
  return 0;
}

Result<int> port(const Client& client, const Parsed& options) {
  if (options.all("NAME").size() != 1) return fail("nagaya port", "it takes one domain", "'nagaya ps' lists them");
  TRY_ASSIGN(const Json detail, client.call("GET", domain_path(options.last("NAME"))));
  const Json ports = detail.value("ports", Json::array());
  for (const Json& one : ports) {
    print(fmt::format("{}/{} -> {}:{}\n", one.value("guest", 0), one.value("protocol", ""), one.value("address", ""), one.value("host", 0)));
  }
  return 0;
}

}  // namespace

std::vector<CommandSpec> remote_making_commands(const Client& client) {
  return {done_there("run", client, run), done_there("rename", client, rename), done_there("update", client, update), done_there("top", client, top),
          done_there("port", client, port)};
}

}  // namespace nagaya::cli
